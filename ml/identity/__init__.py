"""Who may ask: callers, their keys and passwords, and what keeps others from guessing these."""
