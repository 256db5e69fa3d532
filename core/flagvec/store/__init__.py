"""What every store is: its verbs, what a database gives it, its documents, its schema and its vectors."""
