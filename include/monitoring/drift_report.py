"""The day's two pages: a short one that says what was found, and Evidently's with every distribution.

Evidently decides nothing here. It loses a whole report over one empty column, so it is given only columns and types
that it can draw, from a sample.
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
    """Write the page that says what was found, ``index.html``, from a day's result, and return its path."""
    template = html_templates(Path(__file__).parent / "templates").get_template("drift.html")
    page = folder / PAGE
    write_atomically(page, template.render(result=result, evidently=EVIDENTLY_PAGE))
    return page


def write_evidently(
    reference: pd.DataFrame, current: pd.DataFrame, features: Sequence[FeatureSpec], sample_rows: int, folder: Path
) -> list[str]:
    """Write Evidently's drift report of both frames' samples, ``evidently.html``.

    Args:
        reference: One row per customer.
        current: Likewise.
        features: The features drawn, where both frames have values of them.
        sample_rows: Rows drawn of each frame, at most; the draw is seeded.
        folder: Where the page is written.

    Returns:
        The features left out, since one side has no values of them; with all of them left out there is no page.
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
    # A boolean or a nullable integer is no number to Evidently.
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
    # Constant columns make it divide by zero, harmlessly.
    with np.errstate(all="ignore"):
        snapshot = Report([DataDriftPreset()]).run(*data)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    snapshot.save_html(str(scratch))
    scratch.replace(path)
