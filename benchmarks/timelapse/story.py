"""The story of a time-lapse: its events as a table, its figures, and one picture."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.timelapse.compare import RealisedDay
from benchmarks.timelapse.simulation import SimulatedDay
from benchmarks.timelapse.world import Plan
from include.monitoring.incidents import Incident
from include.reporting.plots import BLUE, GREY, VERMILION, panels

RECOVERED_WEEKS = 4
"""The number of last snapshots over which the recovered AUC is averaged."""

_MARKS = {"incident": ("v", VERMILION), "training": ("o", GREY), "deployment": ("^", BLUE)}


@dataclass(frozen=True)
class Event:
    """An event of the story.

    Attributes:
        day: The day.
        kind: ``change``, ``incident`` (an incident opens), ``incident change``, ``training`` or ``deployment``.
        text: The event in words.
    """

    day: dt.date
    kind: str
    text: str


def events(plan: Plan, days: Sequence[SimulatedDay], incidents: Sequence[Incident]) -> list[Event]:
    """Return the events of the simulated days, in order.

    Args:
        plan: The days.
        days: The simulated days, in order.
        incidents: The incidents on each day on which they were open or ended.
    """
    found = [Event(plan.change, "change", "The causes of churn change.")]
    for incident in incidents:
        if incident.change == "unchanged":
            continue
        kind = "incident" if incident.change == "opened" else "incident change"
        found.append(
            Event(incident.last_day, kind, f"Incident ({incident.kind}) {incident.change}: {incident.lines[0]}")
        )
    version = days[0].model_version
    for today in days:
        if today.requested:
            outcome = {None: "not trained", False: "not promoted", True: "promoted"}[today.promoted]
            found.append(Event(today.day, "training", f"Training requested ({today.requested}): {outcome}."))
        if today.model_version != version:
            version = today.model_version
            found.append(Event(today.day, "deployment", f"Model version {version} is deployed."))
    return sorted(found, key=lambda event: event.day)


def story_table(
    plan: Plan, story: Sequence[Event], realised: Sequence[RealisedDay], hindsight: Mapping[dt.date, float]
) -> Table:
    """Return the events with the AUC of their day.

    Args:
        plan: The days.
        story: The events.
        realised: The outcome of each simulated day.
        hindsight: The AUC of the best refit, by snapshot day.
    """
    by_day = {item.day: item for item in realised}
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("day", "date", "event", "AUC", "first model", "best refit"):
        numeric = name not in ("date", "event")
        table.add_column(name, justify="right" if numeric else "left", no_wrap=name == "date")
    for event in story:
        outcome, best = by_day[event.day], hindsight.get(event.day)
        table.add_row(
            str(plan.number(event.day)),
            str(event.day),
            event.text,
            f"{outcome.auc_with:.3f}",
            f"{outcome.auc_without:.3f}",
            "" if best is None else f"{best:.3f}",
        )
    return table


def figures(
    plan: Plan,
    days: Sequence[SimulatedDay],
    realised: Sequence[RealisedDay],
    hindsight: Mapping[dt.date, float],
    failed_requests: int,
) -> dict[str, Any]:
    """Return the figures of a time-lapse.

    Args:
        plan: The days.
        days: The simulated days.
        realised: The outcome of each simulated day.
        hindsight: The AUC of the best refit, by snapshot day.
        failed_requests: The number of requests without a correct response.

    Returns:
        ``days``; ``failed_requests``; ``retrained_on``: the simulated days from the change on, counted from 1, on which
        a trained model was promoted; ``auc_recovered`` and ``auc_hindsight``: the mean AUC of the retention lists and
        of the best refits on the last ``RECOVERED_WEEKS`` snapshots; ``saving_with`` and ``saving_without``: the mean
        saving of a day's list in US dollars per 1,000 customers, from the change on.
    """
    last = sorted(hindsight)[-RECOVERED_WEEKS:]
    changed = [item for item in realised if item.day >= plan.change]
    return {
        "days": len(days),
        "failed_requests": failed_requests,
        "retrained_on": [plan.number(item.day) for item in days if item.promoted and item.day >= plan.change],
        "auc_recovered": _mean([item.auc_with for item in realised if item.day in last], 4),
        "auc_hindsight": _mean([hindsight[day] for day in last], 4),
        "saving_with": _mean([item.saving_with for item in changed], 0),
        "saving_without": _mean([item.saving_without for item in changed], 0),
    }


def draw(
    plan: Plan, story: Sequence[Event], realised: Sequence[RealisedDay], hindsight: Mapping[dt.date, float]
) -> str:
    """Return the picture of a time-lapse as SVG.

    Args:
        plan: The days.
        story: The events.
        realised: The outcome of each simulated day.
        hindsight: The AUC of the best refit, by snapshot day.
    """
    numbers = [plan.number(item.day) for item in realised]
    with panels("timelapse", 10, 6.2, rows=2) as ((top, bottom), drawn):
        top.set_title("Realised AUC of each day's list")
        top.plot(numbers, [item.auc_with for item in realised], color=BLUE, label="with retraining")
        top.plot(numbers, [item.auc_without for item in realised], color=VERMILION, ls="--", label="first model only")
        weeks = [plan.number(day) for day in hindsight]
        top.plot(weeks, list(hindsight.values()), color=GREY, ls="none", marker=".", label="best refit in hindsight")
        bottom.set_title("Saving of each day's list, USD per 1,000 customers")
        bottom.plot(numbers, [item.saving_with for item in realised], color=BLUE)
        bottom.plot(numbers, [item.saving_without for item in realised], color=VERMILION, ls="--")
        bottom.set_xlabel("day")
        bottom.yaxis.set_major_formatter("{x:,.0f}")
        low, high = top.get_ylim()
        top.set_ylim(low - 0.3 * (high - low), high)
        for height, (kind, (marker, color)) in enumerate(_MARKS.items()):
            at = sorted({plan.number(event.day) for event in story if event.kind == kind})
            y, transform = [0.05 + 0.08 * height] * len(at), top.get_xaxis_transform()
            top.plot(at, y, color=color, ls="none", marker=marker, transform=transform, label=kind)
        for axes in (top, bottom):
            axes.grid(axis="y")
            axes.axvline(plan.change_day, color=GREY, lw=1)
            axes.margins(x=0.01)
        top.text(plan.change_day + 1, high, "the causes of churn change", va="top", fontsize=8)
        top.legend(ncols=3, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1.08))
    return drawn.getvalue()


def _mean(values: Sequence[float], digits: int) -> float | None:
    return round(float(np.mean(values)), digits) if values else None
