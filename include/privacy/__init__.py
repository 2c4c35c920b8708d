"""Privacy: the erasure of a customer, and retention periods."""
