"""What all stores share; no database in it."""
