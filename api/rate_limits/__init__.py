"""How many requests a key, or an address without one, may send: counted here, for plain predictions and all others."""
