"""Benchmarks. Each benchmark runs with ``python -m`` and prints its figures as one JSON object on the last line."""
