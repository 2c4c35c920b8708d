"""A library of odd inputs: ``make bench NAME=inputs``."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.inputs.library import Input

KINDS = (
    "values",
    "instants",
    "names",
    "dialects",
    "types_over_time",
    "nulls_and_labels",
    "ids",
    "tables",
    "database",
    "late",
)


@cache
def all_inputs() -> dict[str, Input]:
    """Return all inputs by name; the name begins with the module of the input."""
    found: dict[str, Input] = {}
    for kind in KINDS:
        for item in import_module(f"benchmarks.inputs.{kind}").INPUTS:
            name = f"{kind}: {item.name}"
            if name in found:
                raise ValueError(f"two inputs are called {name!r}")
            found[name] = item
    return found
