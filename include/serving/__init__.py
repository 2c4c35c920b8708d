"""From a model bundle to a running endpoint, and back to the one before it."""
