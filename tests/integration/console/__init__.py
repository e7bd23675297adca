"""Pages: the API for people, and how browsers log in."""
