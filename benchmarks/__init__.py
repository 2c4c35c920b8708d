"""Figures that can be repeated: each module runs with ``python -m`` and ends with one JSON object."""
