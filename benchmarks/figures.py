"""How a benchmark prints: what it measured in detail on the line before the last, its figures alone on the last."""

from __future__ import annotations

import json
from typing import Any


def print_figures(benchmark: str, figures: dict[str, Any], details: dict[str, Any]) -> None:
    """Print two JSON objects: the details under the benchmark's name, and on the last line the figures."""
    print(json.dumps({"benchmark": benchmark, **details}))
    print(json.dumps(figures), flush=True)
