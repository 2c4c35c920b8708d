"""The rows of gold that are compared with the reference profile, and those that illustrate the reference.

A window contains the snapshots of ``window_days`` days, and only the latest row of each customer: repeated rows of a
customer are not independent, and would make random differences significant. For data without time, a window is one
delivery.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from include.days import DayRange
from include.errors import ChurnflowError
from include.lake import Lake, connect
from include.lake.table_names import FEATURES_TABLE
from include.projects import Project
from include.training.evaluation.change import as_numbers
from include.training.model.bundle import Bundle
from include.training.model.contract import FeatureContract, ModelContract
from include.training.model.reference_profile import SCORE

_KEYS = ("dt", "customer_id")


class WindowError(ChurnflowError):
    """Gold has no rows in a window."""


def judged_days(lake: Lake, day: dt.date, count: int) -> list[dt.date]:
    """Return the last days in gold, up to the monitored day, sorted.

    Args:
        lake: The lake with ``gold/features``.
        day: The monitored day.
        count: The largest number of days.

    Raises:
        WindowError: Gold contains no rows of ``day``.
        LakeError: There is no ``gold/features`` yet.
    """
    days = [present for present in lake.table(FEATURES_TABLE).days() if present <= day]
    if day not in days:
        raise WindowError(f"{day} has no rows.", where=FEATURES_TABLE, remedy="Run churn_ingest for that day.")
    return days[-count:]


def window_days(project: Project, days: Sequence[dt.date], day: dt.date) -> list[dt.date]:
    """Return the days of the window that ends with ``day``: its snapshots, or all of its days if it has no snapshot.

    The reference and the natural variation consist of snapshots, which are taken on one day of the week. Other days of
    the week have other distributions: after a weekend, more customers have a recent session.

    Args:
        project: The project's window length and snapshots.
        days: The days in gold.
        day: A day in gold.
    """
    span = DayRange.ending(day, project.monitoring.window_days if project.has_time else 1)
    present = [candidate for candidate in days if candidate in span]
    return [candidate for candidate in present if project.is_snapshot_day(candidate)] or present


def latest_rows(lake: Lake, contract: ModelContract, days: Sequence[dt.date]) -> pa.Table:
    """Return the latest row of each customer on some days: the model's features that gold contains, by customer.

    Args:
        lake: The lake with ``gold/features``.
        contract: The contract of the deployed model.
        days: Days in gold.
    """
    engine = connect()
    rows = lake.table(FEATURES_TABLE).scan(engine, days)
    latest = rows.group_by("customer_id").aggregate(dt=rows.dt.max())
    names = [name for name in contract.feature_names if name in rows.columns]
    return rows.join(latest, list(_KEYS)).order_by("customer_id").select(names).to_pyarrow()


def new_columns(lake: Lake, contract: ModelContract) -> list[str]:
    """Return the columns of ``gold/features`` that the model does not use, sorted."""
    return sorted(set(lake.table(FEATURES_TABLE).schema().names) - {*_KEYS, *contract.feature_names})


def with_scores(rows: pa.Table, bundle: Bundle) -> pa.Table:
    """Return rows with the column ``churn_probability``, the model's scores.

    Args:
        rows: Rows with the model's features; an absent feature counts as missing in every row.
        bundle: The model.
    """
    columns = {feature.name: _column(rows, feature) for feature in bundle.contract.features}
    return rows.append_column(SCORE, pa.array(bundle.predict(columns)))


def _column(rows: pa.Table, feature: FeatureContract) -> pa.ChunkedArray | np.ndarray:
    if feature.categories:
        return rows[feature.name] if feature.name in rows.column_names else pa.nulls(rows.num_rows, pa.string())
    if feature.name not in rows.column_names:
        return np.full(rows.num_rows, np.nan)
    numbers = as_numbers(rows[feature.name])
    # The model has no input for infinity. Drift detection also counts infinity as missing.
    return np.where(np.abs(numbers) < np.finfo(np.float32).max, numbers, np.nan)
