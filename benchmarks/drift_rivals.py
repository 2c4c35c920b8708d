"""Other drift rules on the same windows: a Kolmogorov-Smirnov test of each number, and Evidently's defaults."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy import stats

DATASET_SHARE = 0.5
"""Evidently's default: the data set drifted if at least this share of its columns drifted."""


class Kinds(NamedTuple):
    """The compared columns by kind."""

    numbers: Sequence[str]
    categories: Sequence[str]


def ks_alarms(reference: pa.Table, current: pa.Table, kinds: Kinds) -> bool:
    """Return whether a Kolmogorov-Smirnov test of any number has a p-value below .05, without correction.

    Args:
        reference: The reference rows.
        current: The rows of the window.
        kinds: The compared columns.
    """
    before, after = _frame(reference, kinds), _frame(current, kinds)
    pairs = ((before[name].dropna(), after[name].dropna()) for name in kinds.numbers)
    return any(stats.ks_2samp(old, new, method="asymp").pvalue < 0.05 for old, new in pairs if len(old) and len(new))


def evidently_share(reference: pa.Table, current: pa.Table, kinds: Kinds) -> float:
    """Return the share of columns that drifted according to Evidently's ``DataDriftPreset`` with its defaults.

    Args:
        reference: The reference rows.
        current: The rows of the window.
        kinds: The compared columns; those without values are left out, since Evidently fails on them.
    """
    os.environ.setdefault("DO_NOT_TRACK", "1")
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    before, after = (_frame(rows, kinds) for rows in (reference, current))
    drawn = [name for name in before if before[name].notna().any() and after[name].notna().any()]
    definition = DataDefinition(
        numerical_columns=[name for name in drawn if name in kinds.numbers],
        categorical_columns=[name for name in drawn if name in kinds.categories],
    )
    data = [Dataset.from_pandas(frame[drawn], data_definition=definition) for frame in (after, before)]
    with np.errstate(all="ignore"):
        snapshot = Report([DataDriftPreset()]).run(*data)
    return float(snapshot.dict()["metrics"][0]["value"]["share"])


def _frame(rows: pa.Table, kinds: Kinds) -> pd.DataFrame:
    frame: pd.DataFrame = rows.select([*kinds.numbers, *kinds.categories]).to_pandas()
    return frame.astype(dict.fromkeys(kinds.numbers, float)).astype(dict.fromkeys(kinds.categories, object))
