"""The output of a benchmark: progress on standard error, and on standard output the details, then the figures."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeVar

Result = TypeVar("Result")

STARTED = time.perf_counter()


def print_figures(benchmark: str, figures: dict[str, Any], details: dict[str, Any]) -> None:
    """Print two JSON objects.

    Args:
        benchmark: The name of the benchmark.
        figures: The figures, for the last line.
        details: Other figures and the parameters, for the second-last line.
    """
    print(json.dumps({"benchmark": benchmark, **details}))
    print(json.dumps(figures), flush=True)


def report(*parts: object) -> None:
    """Print progress to standard error; the last line of standard output is for the figures."""
    print(*parts, file=sys.stderr, flush=True)


def report_time(text: str) -> None:
    """Print a text with the elapsed seconds to standard error."""
    report(f"{time.perf_counter() - STARTED:6.0f} s  {text}")


def peak_gb() -> float:
    """Return the peak memory of this process in GiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)  # bytes on macOS, KiB on Linux


def in_own_process(function: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function in a new process, so that it starts with cold caches and its peak memory is its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()
