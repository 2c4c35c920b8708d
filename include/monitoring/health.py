"""The deployed model, read from the serving state and its Bento."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, ValidationError

from include.serving.deployment.bento_store import local_bento
from include.serving.deployment.state import BentoReference, open_state
from include.settings import Settings, require_project


class _Contract(BaseModel):
    # Only the fields that are shown or checked.
    model_config = ConfigDict(protected_namespaces=())
    project: str
    trained_through: dt.date
    threshold: float


@dataclass(frozen=True)
class ServedModel:
    """The deployed model.

    Attributes:
        version: The version in the registry.
        since: The time of the last rollout, in UTC; None if it has not been committed yet.
        trained_through: The last snapshot day that the model was fitted on; None if unknown.
        threshold: The lowest probability that is predicted as ``churn``; None if unknown.
    """

    version: str
    since: dt.datetime | None
    trained_through: dt.date | None
    threshold: float | None


def served_model(settings: Settings) -> ServedModel | None:
    """Return the deployed model; None before the first deployment.

    Raises:
        ProjectMismatchError: The deployed model is of another project.
        ServingStateError: The serving state cannot be read.
    """
    state = open_state(settings)
    reference = state.served()
    if reference is None:
        return None
    bento = local_bento(reference, settings)
    contract = _contract(bento) if bento else None
    return ServedModel(
        version=reference.model_version,
        since=state.served_since(),
        trained_through=contract.trained_through if contract else None,
        threshold=contract.threshold if contract else None,
    )


def _contract(reference: BentoReference) -> _Contract | None:
    path = reference.bundle / "contract.json"
    try:
        contract = _Contract.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError):
        return None
    require_project(contract.project, reference.project, what="The model in the Bento", where=reference.path)
    return contract
