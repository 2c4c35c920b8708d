"""The trained versions: their published figures, and the aliases in the registry."""

from __future__ import annotations

import datetime as dt
import os
from functools import cache
from pathlib import Path

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError

from include.errors import ChurnflowError
from include.settings import Settings
from include.training.model.contract import MetricValue

MODEL_FILE = "model.json"  # the module that writes it imports MLflow

_TIMEOUT_SECONDS = 0.25
"""The page waits at most this long for each step of a connection to the registry."""


class ModelError(ChurnflowError):
    """The published figures of a model cannot be read."""


class RegistryError(ChurnflowError):
    """The aliases of the registry cannot be read."""


class Decision(BaseModel):
    """The decision on the promotion of a version.

    Attributes:
        promoted: Whether the version became the champion.
        reason: The reason.
    """

    promoted: bool
    reason: str


class TrainedModel(BaseModel):
    """A trained version.

    Attributes:
        version: The version in the registry.
        trained_through: The last snapshot day that the model was fitted on.
        metrics: The metrics on the test with their 95 % intervals.
        request_reason: The reason of the training; None if it is not known.
        decision: The decision on the promotion; None before.
    """

    model_config = ConfigDict(protected_namespaces=())

    version: str
    trained_through: dt.date
    metrics: dict[str, MetricValue]
    request_reason: str | None = None
    decision: Decision | None = None


def read_models(reports_dir: Path) -> list[TrainedModel]:
    """Return the trained versions with published figures, newest first.

    Args:
        reports_dir: The project's folder of reports.

    Raises:
        ModelError: A file is damaged.
    """
    found = []
    for path in (reports_dir / "model").glob(f"*/{MODEL_FILE}"):
        try:
            found.append(TrainedModel.model_validate_json(path.read_bytes()))
        except (OSError, ValidationError) as error:
            raise ModelError(
                "The file does not contain the figures of a model.",
                where=str(path),
                remedy="Remove the file, or train a model again.",
            ) from error
    return sorted(found, key=lambda model: (len(model.version), model.version), reverse=True)


def read_aliases(settings: Settings) -> dict[str, str]:
    """Return the version that each alias of the registry names; empty before the first training.

    Args:
        settings: The tracking server. MLflow's variables contain the credentials.

    Raises:
        RegistryError: The registry does not answer, or refuses the request.
    """
    uri = settings.mlflow.tracking_uri
    try:
        answer = _client().get(
            f"{uri.rstrip('/')}/api/2.0/mlflow/registered-models/get",
            params={"name": f"churn-{settings.project}"},
            auth=_credentials(),
        )
        if answer.status_code == httpx.codes.NOT_FOUND:
            return {}
        model = answer.raise_for_status().json()["registered_model"]
        return {alias["alias"]: str(alias["version"]) for alias in model.get("aliases", [])}
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        raise RegistryError(
            f"The registry does not answer as expected ({type(error).__name__}).",
            where=uri,
            remedy="Check that MLflow runs; the serving model does not depend on it.",
        ) from error


@cache
def _client() -> httpx.Client:
    return httpx.Client(timeout=_TIMEOUT_SECONDS)


def _credentials() -> httpx.Auth | None:
    name, password = (os.environ.get(f"MLFLOW_TRACKING_{part}", "") for part in ("USERNAME", "PASSWORD"))
    return httpx.BasicAuth(name, password) if name else None
