"""The reference and the current window of drift detection.

Both windows span the same number of days and contain one row per customer, the latest: repeated rows of a customer are
not independent, and would make random differences significant. For data without time, each window is one delivery.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from include.days import DayRange
from include.errors import ChurnflowError
from include.lake import Lake
from include.lake.table_names import FEATURES_TABLE
from include.projects import Project
from include.projects.features import FeatureSpec
from include.training.model.contract import ModelContract


class WindowError(ChurnflowError):
    """Gold has no rows in a window."""


@dataclass(frozen=True)
class Window:
    """The rows of a window.

    Attributes:
        days: The days with rows, sorted.
        rows: The columns ``customer_id`` and the features, one row per customer.
    """

    days: tuple[dt.date, ...]
    rows: pd.DataFrame


def monitored_features(project: Project, contract: ModelContract) -> list[FeatureSpec]:
    """Return the features that both the model and the project contain, in the project's order.

    Args:
        project: The project.
        contract: The contract of the deployed model.
    """
    known = set(contract.feature_names)
    return [spec for spec in project.features if spec.name in known]


def reference_window(lake: Lake, project: Project, contract: ModelContract) -> Window:
    """Return the training rows of the ``window_days`` that end with the model's last training snapshot.

    Earlier snapshots are left out: a whole year would hide the current season, and would compare the customers of many
    weeks with those of a single week.

    Args:
        lake: The lake with ``gold/features``.
        project: The project's snapshots and window length.
        contract: The contract of the deployed model.

    Raises:
        WindowError: Gold no longer contains those days.
        LakeError: There is no ``gold/features`` yet.
    """
    span = _span(project, contract.trained_through)
    days = [day for day in lake.table(FEATURES_TABLE).days() if day in span and project.is_snapshot_day(day)]
    return _window(lake, days, span, [spec.name for spec in monitored_features(project, contract)])


def current_window(lake: Lake, project: Project, contract: ModelContract, day: dt.date) -> Window:
    """Return the rows of the ``window_days`` that end with ``day``.

    Args:
        lake: The lake with ``gold/features``.
        project: The project's window length.
        contract: The contract of the deployed model.
        day: The monitored day.

    Raises:
        WindowError: Gold contains no rows of those days.
        LakeError: There is no ``gold/features`` yet.
    """
    span = _span(project, day)
    days = [present for present in lake.table(FEATURES_TABLE).days() if present in span]
    return _window(lake, days, span, [spec.name for spec in monitored_features(project, contract)])


def latest_per_customer(rows: pd.DataFrame) -> pd.DataFrame:
    """Return each customer's row of the latest ``dt``, ordered by customer."""
    latest = rows.sort_values(["customer_id", "dt"]).drop_duplicates("customer_id", keep="last")
    return latest.reset_index(drop=True)


def _span(project: Project, last: dt.date) -> DayRange:
    return DayRange.ending(last, project.monitoring.window_days if project.has_time else 1)


def _window(lake: Lake, days: Sequence[dt.date], span: DayRange, features: list[str]) -> Window:
    if not days:
        raise WindowError(
            f"No day in {span} has rows.", where=FEATURES_TABLE, remedy="Run churn_ingest for those days."
        )
    rows = lake.table(FEATURES_TABLE).read(days, ["dt", "customer_id", *features]).to_pandas()
    return Window(tuple(days), latest_per_customer(rows).drop(columns="dt"))
