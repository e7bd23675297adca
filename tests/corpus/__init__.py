"""Bad inputs as data: each file lists requests with the answer that they must get; `reading.py` says what an entry is."""
