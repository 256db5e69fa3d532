"""ColBERT vectors in less space."""
