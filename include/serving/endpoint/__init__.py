"""The HTTP API for predictions: the BentoML service and its ASGI middleware."""
