"""The portable filter, and what it means for the values of metadata."""
