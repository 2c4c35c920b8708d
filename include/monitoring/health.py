"""The state of the deployed model. It is read from files only, which is fast enough for a page of the UI."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from include.monitoring.results import Report, list_reports, newest_result
from include.serving.deployment.state import BentoReference, ServingState
from include.settings import Settings, require_project
from include.training.model.contract import RecipeEvaluation


class _Contract(BaseModel):
    # Only the fields that are shown or checked.
    model_config = ConfigDict(protected_namespaces=())
    project: str
    trained_through: dt.date
    evaluation: RecipeEvaluation | None = None
    threshold: float


@dataclass(frozen=True)
class ModelHealth:
    """The state of the deployed model and of its monitoring.

    Attributes:
        project: The project of the deployment.
        schedule: ``off`` or ``daily``.
        model_version: The deployed version; None before the first deployment.
        trained_through: The last snapshot day that the model was fitted on; None if unknown.
        evaluated_through: The last snapshot day that the evaluated model of the same recipe was fitted on; None if
            unknown.
        threshold: The lowest probability that is predicted as ``churn``; None if unknown.
        monitored_day: The newest day with a monitoring result; None before the first.
        drift: The ``drift`` part of that result.
        performance: The ``performance`` part of that result.
        expected: The ``expected`` part of that result.
        served: The ``served`` part of that result.
        reports: All reports, newest day first.
    """

    project: str
    schedule: str
    model_version: str | None
    trained_through: dt.date | None
    evaluated_through: dt.date | None
    threshold: float | None
    monitored_day: dt.date | None
    drift: dict[str, Any] | None
    performance: dict[str, Any] | None
    expected: dict[str, Any] | None
    served: dict[str, Any] | None
    reports: tuple[Report, ...]


def model_health(settings: Settings) -> ModelHealth:
    """Return the current state; parts that do not exist yet are None.

    Raises:
        ProjectMismatchError: The deployed model or the newest monitoring result is of another project.
        ServingStateError: The serving state cannot be read.
        ResultError: The newest monitoring result is damaged.
    """
    reference = ServingState(settings.serving_dir).served()
    contract = _contract(reference) if reference else None
    result = newest_result(settings.reports_dir)
    return ModelHealth(
        project=settings.project,
        schedule=settings.schedule,
        model_version=reference.model_version if reference else None,
        trained_through=contract.trained_through if contract else None,
        evaluated_through=contract.evaluation.trained_through if contract and contract.evaluation else None,
        threshold=contract.threshold if contract else None,
        monitored_day=dt.date.fromisoformat(result["day"]) if result else None,
        drift=result["drift"] if result else None,
        performance=result["performance"] if result else None,
        expected=result.get("expected") if result else None,
        served=result.get("served") if result else None,
        reports=tuple(list_reports(settings.reports_dir)),
    )


def _contract(reference: BentoReference) -> _Contract | None:
    path = reference.bundle / "contract.json"
    try:
        contract = _Contract.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError):
        return None
    require_project(contract.project, reference.project, what="The model in the Bento", where=reference.path)
    return contract
