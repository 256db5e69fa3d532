"""ColBERT vectors: fewer of them, with the same meaning."""
