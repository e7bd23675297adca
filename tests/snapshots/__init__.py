"""What the program gave when somebody last looked at it: a change shows in a review."""
