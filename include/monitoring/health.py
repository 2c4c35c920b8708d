"""What is known about the deployed model, from files alone: quick enough for a page of the UI."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from include.monitoring.store import newest_result
from include.serving.deployment.pointer import BentoReference
from include.serving.deployment.transaction import served_bento
from include.settings import Settings

_PAGES = {"quality": "*.html", "drift": "index.html", "model": "*.html"}


class _Contract(BaseModel):
    # Only what is shown; the whole contract's model would load the booster's library.
    model_config = ConfigDict(protected_namespaces=())
    trained_through: dt.date
    threshold: float


@dataclass(frozen=True)
class Report:
    """One HTML report.

    Attributes:
        kind: ``quality``, ``drift`` or ``model``.
        day: The day or version that it is for, as its folder says.
        path: Relative to the reports' folder.
    """

    kind: str
    day: str
    path: str


@dataclass(frozen=True)
class ModelHealth:
    """What the UI shows.

    Attributes:
        project: The project that this deployment serves.
        schedule: ``off`` or ``daily``.
        model_version: The deployed version; None before the first deployment.
        trained_through: The last snapshot day that it learned from; None when unknown.
        threshold: The probability from which it says ``churn``; None when unknown.
        monitored_day: The newest day with a monitoring result; None before the first.
        drift: The ``drift`` part of that result.
        performance: The ``performance`` part of that result.
        served: The ``served`` part of that result; None in one that is older than the prediction log.
        reports: All reports, newest day first.
    """

    project: str
    schedule: str
    model_version: str | None
    trained_through: dt.date | None
    threshold: float | None
    monitored_day: dt.date | None
    drift: dict[str, Any] | None
    performance: dict[str, Any] | None
    served: dict[str, Any] | None
    reports: tuple[Report, ...]


def model_health(settings: Settings) -> ModelHealth:
    """Return what is known now; what is not there yet is None.

    Raises:
        PointerError: The pointer to the deployed model is not one.
        ResultError: The newest monitoring result is damaged.
    """
    reference = served_bento(settings.serving_dir)
    contract = _contract(reference) if reference else None
    result = newest_result(settings.reports_dir)
    return ModelHealth(
        project=settings.project,
        schedule=settings.schedule,
        model_version=reference.model_version if reference else None,
        trained_through=contract.trained_through if contract else None,
        threshold=contract.threshold if contract else None,
        monitored_day=dt.date.fromisoformat(result["day"]) if result else None,
        drift=result["drift"] if result else None,
        performance=result["performance"] if result else None,
        served=result.get("served") if result else None,
        reports=tuple(list_reports(settings.reports_dir)),
    )


def list_reports(reports_dir: Path) -> list[Report]:
    """Return the HTML reports below ``reports_dir``, newest day first."""
    found = [
        Report(kind, path.relative_to(reports_dir).parts[1], str(path.relative_to(reports_dir)))
        for kind, pattern in _PAGES.items()
        for path in (reports_dir / kind).glob(f"*/{pattern}")
    ]
    return sorted(found, key=lambda report: (report.day, report.kind, report.path), reverse=True)


def _contract(reference: BentoReference) -> _Contract | None:
    path = reference.bundle / "contract.json"
    try:
        return _Contract.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError):
        return None
