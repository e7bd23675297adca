"""Bad inputs as data: requests, each with the answer that it must get; `reading.py` says what an entry is."""
