"""Sources: reading what arrives from the outside world, as it arrived."""
