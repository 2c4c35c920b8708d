"""The assets that connect the DAGs of the configured project. The partition key of every event is its day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset

from include.settings import get_settings

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence


def _asset(name: str, path: str) -> Asset:
    # Asset names contain the project, so that an event of one project starts no run of another project.
    project = get_settings().project
    return Asset(f"{project}_{name}", uri=f"churn://{project}/{path}", group="churn")


GOLD = _asset("gold_features", "gold/features")
TRAINING_REQUEST = _asset("training_request", "training/request")
CHAMPION = _asset("champion", "model/champion")
ENDPOINT = _asset("endpoint", "serving/endpoint")
SCORES = _asset("retention_list", "gold/scores")


def emit_asset_event(context: Any, asset: Asset, day: dt.date, **extra: Any) -> None:
    """Set the day and references of the task's event on an asset.

    Args:
        context: The task's context.
        asset: One of the task's outlets.
        day: The day, which becomes the partition key.
        **extra: References, as plain JSON types.
    """
    event = context["outlet_events"][asset]
    event.extra = {"day": str(day), **extra}
    event.add_partitions(str(day))


def request_reason(context: Any) -> str:
    """Return why a training was requested: the reasons of the events that triggered the run, or ``by hand``.

    Args:
        context: The task's context.
    """
    from include.training.data.dataset import BY_HAND

    groups = (context.get("triggering_asset_events") or {}).values()
    reasons = dict.fromkeys((event.extra or {}).get("reason") for events in groups for event in events)
    return "; ".join(reason for reason in reasons if reason) or BY_HAND


def emit_asset_events(asset: Asset, days: Sequence[dt.date]) -> list[str]:
    """Emit an event on an asset for each day, in the running task.

    Args:
        asset: One of the task's outlets.
        days: The days, which become partition keys.

    Returns:
        The days.

    Raises:
        AirflowSkipException: There are no days. The task must not succeed, since it would then emit an event.
    """
    from airflow.sdk import get_current_context
    from airflow.sdk.exceptions import AirflowSkipException

    if not days:
        raise AirflowSkipException("No day is missing.")
    event = get_current_context()["outlet_events"][asset]
    event.extra = {"days": [str(day) for day in days]}
    event.add_partitions([str(day) for day in days])
    return [str(day) for day in days]
