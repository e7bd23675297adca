"""`make screenshots`: pictures of the pages, for the docs and for who changes them to look at."""
