"""The deployed model and its newest monitoring result, read from files of the serving and the reports' folder."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from include.monitoring.results import newest_result
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
class ServedModel:
    """The deployed model.

    Attributes:
        version: The version in the registry.
        since: The time of the last rollout, in UTC; None if it has not been committed yet.
        trained_through: The last snapshot day that the model was fitted on; None if unknown.
        evaluated_through: The last snapshot day that the evaluated model of the same recipe was fitted on; None if
            unknown.
        threshold: The lowest probability that is predicted as ``churn``; None if unknown.
    """

    version: str
    since: dt.datetime | None
    trained_through: dt.date | None
    evaluated_through: dt.date | None
    threshold: float | None


@dataclass(frozen=True)
class ModelHealth:
    """The deployed version and the newest monitoring result.

    Attributes:
        project: The project of the deployment.
        model_version: The deployed version; None before the first deployment.
        monitored_day: The newest day with a monitoring result; None before the first.
        drift: The ``drift`` part of that result.
        performance: The ``performance`` part of that result.
        expected: The ``expected`` part of that result.
        served: The ``served`` part of that result.
    """

    project: str
    model_version: str | None
    monitored_day: dt.date | None
    drift: dict[str, Any] | None
    performance: dict[str, Any] | None
    expected: dict[str, Any] | None
    served: dict[str, Any] | None


def served_model(settings: Settings) -> ServedModel | None:
    """Return the deployed model; None before the first deployment.

    Raises:
        ProjectMismatchError: The deployed model is of another project.
        ServingStateError: The serving state cannot be read.
    """
    state = ServingState(settings.serving_dir)
    reference = state.served()
    if reference is None:
        return None
    contract = _contract(reference)
    return ServedModel(
        version=reference.model_version,
        since=state.served_since(),
        trained_through=contract.trained_through if contract else None,
        evaluated_through=contract.evaluation.trained_through if contract and contract.evaluation else None,
        threshold=contract.threshold if contract else None,
    )


def model_health(settings: Settings) -> ModelHealth:
    """Return the deployed version and the newest monitoring result; parts that do not exist yet are None.

    Raises:
        ProjectMismatchError: The deployed model or the newest monitoring result is of another project.
        ServingStateError: The serving state cannot be read.
        ResultError: The newest monitoring result is damaged.
    """
    model, result = served_model(settings), newest_result(settings.reports_dir)
    return ModelHealth(
        project=settings.project,
        model_version=model.version if model else None,
        monitored_day=dt.date.fromisoformat(result["day"]) if result else None,
        drift=result["drift"] if result else None,
        performance=result["performance"] if result else None,
        expected=result.get("expected") if result else None,
        served=result.get("served") if result else None,
    )


def _contract(reference: BentoReference) -> _Contract | None:
    path = reference.bundle / "contract.json"
    try:
        contract = _Contract.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError):
        return None
    require_project(contract.project, reference.project, what="The model in the Bento", where=reference.path)
    return contract
