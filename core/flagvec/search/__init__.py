"""How a search is asked, and how the scores of several representations become one ranking."""
