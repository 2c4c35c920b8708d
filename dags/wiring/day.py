"""The day or days of an Airflow run: scheduled, backfilled, triggered by an asset, or manual."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Param

if TYPE_CHECKING:
    import datetime as dt

    from include.days import DayRange


def day_param(title: str, description: str) -> Param:
    """Return a DAG parameter for an optional day, shown as a date field in the trigger form.

    Args:
        title: The title of the field.
        description: The text below the field.
    """
    return Param(None, type=["null", "string"], format="date", title=title, description=description)


def resolve_day(context: Any) -> dt.date:
    """Return the day of a run.

    In this order: the parameter of a manual run, the run's partition (scheduled, backfilled and asset-triggered runs
    have one), its data interval, and the day of the latest triggering asset event.

    Raises:
        DayError: The run has no day.
    """
    from include.days import DayError, parse_day

    text = _parameter(context, "day") or _partition(context) or _interval(context) or _event(context)
    if text is None:
        raise DayError(
            "The run has no day.",
            where=f"run {context['run_id']}",
            remedy='Trigger it again and fill in the day, or give --conf \'{"day": "YYYY-MM-DD"}\'.',
        )
    return parse_day(text[:10])


def resolve_days(context: Any) -> DayRange:
    """Return the days of an ingest run: the range of its parameters, or the run's day.

    Raises:
        DayError: The run has no day, or only the first day of a range.
    """
    from include.days import DayRange, parse_day

    last = _parameter(context, "to_day")
    if last is None:
        return DayRange.single(resolve_day(context))
    return DayRange(parse_day(_parameter(context, "from_day") or last), parse_day(last))


def _parameter(context: Any, name: str) -> str | None:
    return (context.get("params") or {}).get(name)


def _partition(context: Any) -> str | None:
    return context.get("partition_key") or getattr(context.get("dag_run"), "partition_key", None)


def _interval(context: Any) -> str | None:
    start = context.get("data_interval_start")
    return start.date().isoformat() if start else None


def _event(context: Any) -> str | None:
    events = context.get("triggering_asset_events") or {}
    days = [event.extra["day"] for group in events.values() for event in group if (event.extra or {}).get("day")]
    return max(days, default=None)
