"""The reports of a monitored day: a page with the results, and Evidently's page with every distribution.

Evidently only draws the distributions; the verdicts come from ``drift``. Evidently fails on a column without values.
It therefore receives only columns with values, converted to types that it can draw, and a sample of the rows.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from include.local_files import write_atomically
from include.projects.features import FeatureSpec
from include.reporting import html_templates

PAGE = "index.html"
EVIDENTLY_PAGE = "evidently.html"
_SAMPLE_SEED = 20170101


def write_page(result: dict[str, Any], folder: Path) -> Path:
    """Write the page of a day's result, ``index.html``, and return its path.

    Args:
        result: The result of ``monitor_day``.
        folder: The folder of the day's reports.
    """
    template = html_templates(Path(__file__).parent / "templates").get_template("drift.html")
    page = folder / PAGE
    write_atomically(page, template.render(result=result, evidently=EVIDENTLY_PAGE))
    return page


def write_evidently(
    reference: pd.DataFrame, current: pd.DataFrame, features: Sequence[FeatureSpec], sample_rows: int, folder: Path
) -> list[str]:
    """Write Evidently's drift report, ``evidently.html``.

    Args:
        reference: The reference window, one row per customer.
        current: The current window, one row per customer.
        features: The features to draw.
        sample_rows: The largest number of rows drawn from each window, with a fixed seed.
        folder: The folder of the day's reports.

    Returns:
        The features that are left out because one window has no values. If all are left out, no page is written.
    """
    frames = [_sample(frame, sample_rows) for frame in (reference, current)]
    drawable = [spec for spec in features if all(_has_values(frame, spec.name) for frame in frames)]
    left_out = [spec.name for spec in features if spec not in drawable]
    if drawable:
        before, after = (_typed(frame, drawable) for frame in frames)
        _render(before, after, drawable, folder / EVIDENTLY_PAGE)
    return left_out


def _sample(frame: pd.DataFrame, rows: int) -> pd.DataFrame:
    return frame.sample(rows, random_state=_SAMPLE_SEED) if len(frame) > rows else frame


def _has_values(frame: pd.DataFrame, name: str) -> bool:
    return name in frame and bool(frame[name].notna().any())


def _typed(frame: pd.DataFrame, features: Sequence[FeatureSpec]) -> pd.DataFrame:
    # Evidently does not treat booleans and nullable integers as numbers.
    columns = {
        spec.name: frame[spec.name].astype("string").astype(object)
        if spec.dtype == "category"
        else frame[spec.name].astype(float).replace([np.inf, -np.inf], np.nan)
        for spec in features
    }
    return pd.DataFrame(columns).reset_index(drop=True)


def _render(reference: pd.DataFrame, current: pd.DataFrame, features: Sequence[FeatureSpec], path: Path) -> None:
    os.environ.setdefault("DO_NOT_TRACK", "1")
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(
        numerical_columns=[spec.name for spec in features if spec.dtype == "number"],
        categorical_columns=[spec.name for spec in features if spec.dtype == "category"],
    )
    data = [Dataset.from_pandas(frame, data_definition=definition) for frame in (current, reference)]
    # Evidently divides by zero for constant columns; the warnings are harmless.
    with np.errstate(all="ignore"):
        snapshot = Report([DataDriftPreset()]).run(*data)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    snapshot.save_html(str(scratch))
    scratch.replace(path)
