"""The local stack and the demo. They are not part of the product."""
