"""Plots as SVG with one style; the same data give the same bytes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Blue and vermilion of Okabe and Ito (2008) are distinguishable with colour-blindness. Lines also differ in their
# dashes, for print without colour.
BLUE, VERMILION, GREY = "#0072b2", "#d55e00", "#5b6875"
_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "grid.color": "#e3e8ee",
    "legend.frameon": False,
    # Text stays text: it is searchable, readable by a screen reader, and small.
    "svg.fonttype": "none",
}


@contextmanager
def drawing(name: str, width: float, height: float) -> Iterator[tuple[Axes, io.StringIO]]:
    """Yield axes, and a buffer that contains their SVG after the block.

    Args:
        name: The plot's name, which seeds the identifiers in the SVG; without a seed they are random.
        width: The width in inches.
        height: The height in inches.
    """
    with panels(name, width, height, rows=1) as ((axes,), drawn):
        yield axes, drawn


@contextmanager
def panels(name: str, width: float, height: float, rows: int) -> Iterator[tuple[list[Axes], io.StringIO]]:
    """Yield axes below each other that share the x-axis, and a buffer that contains their SVG after the block.

    Args:
        name: The plot's name, as in ``drawing``.
        width: The width in inches.
        height: The height in inches.
        rows: The number of axes.
    """
    drawn = io.StringIO()
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield list(figure.subplots(rows, sharex=True, squeeze=False)[:, 0]), drawn
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
