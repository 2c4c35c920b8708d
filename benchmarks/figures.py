"""The output of a benchmark: the details on the second-last line, the figures on the last line."""

from __future__ import annotations

import json
import resource
import sys
from typing import Any


def print_figures(benchmark: str, figures: dict[str, Any], details: dict[str, Any]) -> None:
    """Print two JSON objects.

    Args:
        benchmark: The name of the benchmark.
        figures: The figures, for the last line.
        details: Other figures and the parameters, for the second-last line.
    """
    print(json.dumps({"benchmark": benchmark, **details}))
    print(json.dumps(figures), flush=True)


def peak_gb() -> float:
    """Return the peak memory of this process in GiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)  # bytes on macOS, KiB on Linux
