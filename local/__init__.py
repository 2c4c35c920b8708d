"""The local stack and the demo: not part of the product."""
