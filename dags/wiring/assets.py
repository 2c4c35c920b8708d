"""The assets that chain the DAGs. Every event carries the day that it is for, as its partition key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset

if TYPE_CHECKING:
    import datetime as dt

GOLD = Asset("gold_features", uri="churn://gold/features", group="churn")
TRAINING_REQUEST = Asset("training_request", uri="churn://training/request", group="churn")
CHAMPION = Asset("champion", uri="churn://model/champion", group="churn")
ENDPOINT = Asset("endpoint", uri="churn://serving/endpoint", group="churn")
SCORES = Asset("retention_list", uri="churn://gold/scores", group="churn")


def announce(context: Any, asset: Asset, day: dt.date, **extra: Any) -> None:
    """Attach to the task's event on ``asset`` the day that it is for, and references as ``extra``."""
    event = context["outlet_events"][asset]
    event.extra = {"day": str(day), **extra}
    event.add_partitions(str(day))
