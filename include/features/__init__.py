"""Features: specifications compiled to point-in-time features, and labels computed once they have matured."""
