"""The reports of a monitored day: a page with the results, and Evidently's page with every distribution.

Evidently draws the distributions of a sample, and shows the project's own verdicts: its statistical tests are replaced
by a test that returns the result of ``drift``. Evidently fails on a column without values, and on numbers that differ
too little for bins. Therefore only columns that it can draw are passed to it, converted to types that it supports.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from include.local_files import write_atomically
from include.monitoring.drift import DayDrift
from include.reporting import html_templates
from include.training.evaluation.change import as_numbers
from include.training.model.reference_profile import ReferenceProfile

PAGE = "index.html"
EVIDENTLY_PAGE = "evidently.html"
_SAMPLE_SEED = 20170101
_MOST_BINS = 1_000
"""More than Evidently uses."""


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
    reference: pa.Table,
    current: pa.Table,
    profile: ReferenceProfile,
    found: DayDrift,
    multiplier: float,
    sample_rows: int,
    folder: Path,
) -> list[str]:
    """Write Evidently's page, ``evidently.html``, with the distributions and the verdict of each feature.

    The days between two snapshots have the same window, so most pages equal that of an earlier day. Evidently's import
    and a page of 100 features take about 20 s of CPU time. Therefore a page ends with the checksum of its inputs, and a
    page of another day with the same checksum is copied.

    Args:
        reference: The reference rows, one per customer.
        current: The rows of the day's window, one per customer.
        profile: The reference profile.
        found: The result of the day.
        multiplier: The lowest severity of a drifted feature.
        sample_rows: The largest number of rows drawn from each side, with a fixed seed.
        folder: The folder of the day's reports.

    Returns:
        The drawn features; those that Evidently cannot draw are left out. If all are left out, no page is written.
    """
    kinds = {name: feature.kind for name, feature in profile.features.items()}
    before, after = (_drawable(_sample(rows, sample_rows), kinds) for rows in (reference, current))
    drawn = [feature.name for feature in found.features if feature.name in before and feature.name in after]
    if drawn:
        severities = {feature.name: feature.severity for feature in found.features if feature.name in drawn}
        frames, page = (before[drawn], after[drawn]), folder / EVIDENTLY_PAGE
        ending = _ending(frames, {name: kinds[name] for name in drawn}, severities, multiplier)
        equal = _page_with_ending(ending, folder.parent)
        content = equal.read_bytes() if equal else _render(*frames, kinds, severities, multiplier).encode() + ending
        write_atomically(page, content)
    return drawn


def _ending(
    frames: Sequence[pd.DataFrame], kinds: Mapping[str, str], severities: Mapping[str, float], multiplier: float
) -> bytes:
    """Return the end of a page: a comment with the checksum of its inputs."""
    inputs = json.dumps([version("evidently"), kinds, severities, multiplier])
    checksum = hashlib.sha256(inputs.encode())
    for frame in frames:
        checksum.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    return f"\n<!-- inputs: {checksum.hexdigest()} -->\n".encode()


def _page_with_ending(ending: bytes, days: Path) -> Path | None:
    for page in days.glob(f"*/{EVIDENTLY_PAGE}"):
        with page.open("rb") as content:
            content.seek(-min(len(ending), page.stat().st_size), os.SEEK_END)
            if content.read() == ending:
                return page
    return None


def _sample(rows: pa.Table, most: int) -> pa.Table:
    if rows.num_rows <= most:
        return rows
    return rows.take(np.sort(np.random.default_rng(_SAMPLE_SEED).choice(rows.num_rows, most, replace=False)))


def _drawable(rows: pa.Table, kinds: Mapping[str, str]) -> pd.DataFrame:
    # Evidently does not treat booleans and nullable integers as numbers.
    columns = {
        name: rows[name].to_pandas().astype("string").astype(object)
        if kind == "category"
        else pd.Series(as_numbers(rows[name])).replace([np.inf, -np.inf], np.nan)
        for name, kind in kinds.items()
        if name in rows.column_names
    }
    return pd.DataFrame({name: column for name, column in columns.items() if _has_bins(column.dropna(), kinds[name])})


def _has_bins(values: pd.Series, kind: str) -> bool:
    if values.empty or kind == "category":
        return not values.empty
    # NumPy divides a range of 1 into bins if all numbers are equal. Narrow bins of large numbers, such as 1e16, are
    # narrower than the distance between two floats.
    width = (values.max() - values.min()) or 1.0
    return bool(np.spacing(values.abs().max()) < width / _MOST_BINS < np.inf)


def _render(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    kinds: Mapping[str, str],
    severities: Mapping[str, float],
    multiplier: float,
) -> str:
    os.environ.setdefault("DO_NOT_TRACK", "1")
    from evidently import DataDefinition, Dataset, Report
    from evidently.legacy.calculations.stattests import StatTest, register_stattest
    from evidently.legacy.core import ColumnType
    from evidently.presets import DataDriftPreset

    def severity(reference_data: Any, current_data: Any, feature_type: Any, threshold: float) -> tuple[float, bool]:
        found = severities[reference_data.name]
        return found, found >= threshold

    test = StatTest(
        name="severity",
        display_name="change divided by its limit",
        allowed_feature_types=[ColumnType.Numerical, ColumnType.Categorical],
    )
    register_stattest(test, severity)

    class Verdicts(DataDriftPreset):  # type: ignore[misc]
        """The table of features, without Evidently's verdict on the whole data set, which uses another rule."""

        def generate_metrics(self, context: Any) -> Any:
            return super().generate_metrics(context)[1:]

        def render(self, context: Any, child_widgets: Any = None) -> Any:
            return super().render(context, child_widgets)[-1:]

    definition = DataDefinition(
        numerical_columns=[name for name in reference if kinds[str(name)] == "number"],
        categorical_columns=[name for name in reference if kinds[str(name)] == "category"],
    )
    data = [Dataset.from_pandas(frame, data_definition=definition) for frame in (current, reference)]
    # Evidently divides by zero for constant columns; the warnings are harmless.
    with np.errstate(all="ignore"):
        snapshot = Report([Verdicts(method=test.name, threshold=multiplier)]).run(*data)
    return str(snapshot.get_html_str(as_iframe=False))
