"""The injected changes of the drift benchmark. Each changes the rows of a window, or the number of rows of a source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from include.monitoring.source_rows import SourceRows

Change = Callable[[NDArray[np.float64], np.random.Generator], NDArray[np.float64]]
SHIFT_SD, VARIANCE, MISSING, MIXED = 0.25, 1.5, 0.20, 0.20
CHANGED = 5


@dataclass(frozen=True)
class Influential:
    """The features that the model uses: their names by kind."""

    numbers: tuple[str, ...]
    categories: tuple[str, ...]


def shift_mean(values: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Add a quarter of a standard deviation."""
    return values + SHIFT_SD * np.nanstd(values)


def widen(values: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Multiply the variance by 1.5, with the same mean."""
    mean = np.nanmean(values)
    widened: NDArray[np.float64] = mean + (values - mean) * VARIANCE**0.5
    return widened


def lose(values: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Make the values of a further 20 % of the rows missing."""
    present = np.flatnonzero(~np.isnan(values))
    lost = rng.choice(present, min(len(present), round(MISSING * len(values))), replace=False)
    values[lost] = np.nan
    return values


NUMBERS: Mapping[str, Change] = {"mean +.25 sd": shift_mean, "variance x1.5": widen, "missing +20 %": lose}
CATEGORIES = "category mix"
DEAD = "dead source"


def change_window(kind: str, window: pa.Table, features: Influential, seed: Sequence[int]) -> pa.Table:
    """Return the rows of a window after a change of the features.

    Args:
        kind: A key of ``NUMBERS``, which changes five influential numbers, or ``CATEGORIES``, which moves 20 % of the
            rows to another category of the influential categories.
        window: The rows.
        features: The influential features.
        seed: The seed of the choice of the features and rows.
    """
    rng = np.random.default_rng(list(seed))
    if kind == CATEGORIES:
        for name in features.categories:
            window = _with(window, name, _mix(window[name], rng))
        return window
    for name in rng.choice(features.numbers, min(CHANGED, len(features.numbers)), replace=False):
        values = pc.cast(window[name], pa.float64()).to_numpy().copy()
        window = _with(window, name, pa.array(NUMBERS[kind](values, rng), from_pandas=True))
    return window


def stop_source(rows: SourceRows, position: int) -> SourceRows:
    """Return the rows of a source without any row from a day on.

    Args:
        rows: The rows by day.
        position: The position of the first day without rows.
    """
    kept = rows.rows.copy()
    kept[position:] = 0
    return replace(rows, rows=kept)


def _mix(column: pa.ChunkedArray, rng: np.random.Generator) -> pa.Array:
    texts = column.to_numpy(zero_copy_only=False).copy()
    known = sorted({text for text in texts if text is not None})
    moved = np.flatnonzero(rng.random(len(texts)) < MIXED)
    # One category receives all moved rows, as after a change of a default value.
    texts[moved] = known[int(rng.integers(len(known)))]
    return pa.array(texts, pa.string())


def _with(window: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return window.set_column(window.column_names.index(name), name, values)
