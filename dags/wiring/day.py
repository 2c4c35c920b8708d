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
        DayError: The run has no day, or a parameter and the run's partition are different days.
    """
    from include.days import DayError

    day = find_day(context)
    if day is None:
        raise DayError(
            "The run has no day.",
            where=f"run {context['run_id']}",
            remedy='Trigger it again and fill in the day, or give --conf \'{"day": "YYYY-MM-DD"}\'.',
        )
    return day


def find_day(context: Any) -> dt.date | None:
    """Return the day of a run as ``resolve_day`` does; None if the run has no day.

    Raises:
        DayError: A day is invalid, or a parameter and the run's partition are different days.
    """
    from include.days import parse_day

    typed = _parameter(context, "day")
    _require_partition(context, typed)
    text = typed or _partition(context) or _interval(context) or _event(context)
    return parse_day(text[:10]) if text else None


def resolve_days(context: Any) -> DayRange:
    """Return the days of an ingest run: the range of its parameters, or the run's day.

    Raises:
        DayError: The run has no day, or only the first day of a range; or the last day and the run's partition differ.
    """
    from include.days import DayError, DayRange, parse_day

    first, last = _parameter(context, "from_day"), _parameter(context, "to_day")
    if last is None and first is not None:
        raise DayError(
            "The range has a first day, but no last day.",
            where=f"run {context['run_id']}",
            remedy="Trigger it again with both days. Set no parameters in a backfill: its dates are its days.",
        )
    if last is None:
        return DayRange.single(resolve_day(context))
    _require_partition(context, last)
    return DayRange(parse_day(first or last), parse_day(last))


def _require_partition(context: Any, typed: str | None) -> None:
    """Check that a parameter does not contradict the day of the run's partition, which the UI and the events show."""
    from include.days import DayError

    partition = _partition(context)
    if typed and partition and typed[:10] != partition[:10]:
        raise DayError(
            f"The parameter is the day {typed}, but the run's partition is {partition[:10]}.",
            where=f"run {context['run_id']}",
            remedy="Trigger it again with only one of them, or with the same day in both.",
        )


def _parameter(context: Any, name: str) -> str | None:
    from include.days import DayError

    value = (context.get("params") or {}).get(name)
    if not isinstance(value, str | None):
        raise DayError(
            f"The parameter {name!r} is {value!r}, not a text.",
            where=f"run {context['run_id']}",
            remedy=f'Trigger it again with --conf \'{{"{name}": "YYYY-MM-DD"}}\'.',
        )
    return value or None


def _partition(context: Any) -> str | None:
    return context.get("partition_key") or getattr(context.get("dag_run"), "partition_key", None)


def _interval(context: Any) -> str | None:
    start = context.get("data_interval_start")
    return start.date().isoformat() if start else None


def _event(context: Any) -> str | None:
    events = context.get("triggering_asset_events") or {}
    days = [event.extra["day"] for group in events.values() for event in group if (event.extra or {}).get("day")]
    return max(days, default=None)
