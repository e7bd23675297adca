"""Ways of running a model: one file each, behind the interface in base.py."""
