"""The tests; they mirror ``include/``."""
