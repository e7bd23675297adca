"""Who did what to which document: entries beside the writes that they tell of, and refusals counted."""
