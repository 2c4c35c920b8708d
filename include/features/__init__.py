"""Features: specifications compiled to point-in-time features, and labels once they have matured."""
