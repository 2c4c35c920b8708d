"""Check the training data and the model against the project's requirements, and record the verdicts.

Each group of ``requirements.yaml`` has a mode: ``enabled`` stops a training that misses a requirement, ``dry_run``
reports it and continues, ``disabled`` skips the check. The verdicts are written before the training stops.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from include.errors import ChurnflowError
from include.local_files import write_atomically
from include.logs import get_logger
from include.plurals import counted
from include.projects import Project
from include.projects.requirements import Mode
from include.training.data.dataset import DatasetManifest, DatasetRef

log = get_logger(__name__)

REQUIREMENTS_FILE = "requirements.json"
"""The verdicts, in the data set's folder and in the training's MLflow run."""

Point = Literal["before_training", "after_training", "under_load"]


class RequirementsError(ChurnflowError):
    """The training data or the model misses a requirement of the project."""


@dataclass(frozen=True)
class Verdict:
    """One requirement and the value found.

    Attributes:
        name: The requirement.
        bound: Whether ``required`` is the minimum or the maximum.
        required: The limit.
        found: The value.
        point: The time of the check.
        mode: The consequence of a miss.
    """

    name: str
    bound: Literal["min", "max"]
    required: float
    found: float
    point: Point
    mode: Mode

    @property
    def ok(self) -> bool:
        """Whether the requirement is met; NaN never meets a requirement."""
        return self.found >= self.required if self.bound == "min" else self.found <= self.required

    @property
    def missing(self) -> float:
        """The distance of the value from the limit, in its own unit; zero if the requirement is met."""
        return 0.0 if self.ok else abs(self.required - self.found)

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as plain JSON types."""
        return asdict(self) | {"ok": self.ok, "missing": self.missing}

    def __str__(self) -> str:
        limit = "at least" if self.bound == "min" else "at most"
        text = f"{self.name} is {_number(self.found)}, required is {limit} {_number(self.required)}"
        side = "missing" if self.bound == "min" else "too many"
        return text if self.ok else f"{text} ({_number(self.missing)} {side})"


def check_data(project: Project, manifest: DatasetManifest) -> list[Verdict]:
    """Return the verdicts on the project's data requirements.

    Args:
        project: The requirements.
        manifest: The data set's manifest.
    """
    data = project.requirements.data

    def verdict(name: str, bound: Literal["min", "max"], required: float, found: float) -> Verdict:
        return Verdict(name, bound, required, found, "before_training", data.mode)

    if data.mode == "disabled":
        return []
    return [
        verdict("training_samples", "min", data.min_training_samples, manifest.train.rows),
        verdict("positive_ratio", "min", data.min_positive_ratio, manifest.train.positive_ratio),
        verdict("features", "min", data.min_features, len(manifest.features)),
        verdict("features", "max", data.max_features, len(manifest.features)),
    ]


def require_data(project: Project, dataset: DatasetRef) -> list[Verdict]:
    """Check a data set, write the verdicts to its folder, and return them.

    Args:
        project: The requirements.
        dataset: The data set.

    Raises:
        RequirementsError: The data set misses a requirement whose mode is ``enabled``; the message contains the values.
    """
    verdicts = check_data(project, dataset.manifest)
    write_verdicts(dataset.folder, verdicts)
    _report("before_training", verdicts)
    _require("The training data", project, verdicts, "Ingest more days or customers, or correct the requirement.")
    return verdicts


def check_model(project: Project, metrics: dict[str, float], training_seconds: float) -> list[Verdict]:
    """Return the verdicts on the project's required metrics and training time.

    Args:
        project: The requirements.
        metrics: The model's metrics on the test, with decisions at a threshold of 0.5.
        training_seconds: Wall time of the training.
    """
    required, performance = project.requirements.metrics, project.requirements.performance
    hours = training_seconds / 3600
    verdicts = [
        *(
            Verdict(name, "min", limit, metrics[name], "after_training", required.mode)
            for name, limit in required.limits().items()
        ),
        Verdict("training_hours", "max", performance.max_training_hours, hours, "after_training", performance.mode),
    ]
    return [verdict for verdict in verdicts if verdict.mode != "disabled"]


def require_model(project: Project, verdicts: Sequence[Verdict]) -> None:
    """Log the verdicts on a model, and reject it if it misses a requirement whose mode is ``enabled``.

    Args:
        project: The project, for the message.
        verdicts: All verdicts.

    Raises:
        RequirementsError: The model misses a requirement; the message contains the values.
    """
    _report("after_training", verdicts)
    _require("The model", project, verdicts, "Improve the features, or correct the requirement.")


def write_verdicts(folder: Path, verdicts: Sequence[Verdict]) -> None:
    """Write the verdicts to a data set's folder, and replace earlier ones.

    Args:
        folder: The data set's folder.
        verdicts: The verdicts.
    """
    write_atomically(folder / REQUIREMENTS_FILE, json.dumps(verdicts_document(verdicts)) + "\n")


def verdicts_document(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Return the verdicts as plain JSON types."""
    return {"verdicts": [verdict.as_dict() for verdict in verdicts]}


def _report(point: Point, verdicts: Sequence[Verdict]) -> None:
    checked = [verdict.as_dict() for verdict in verdicts if verdict.point == point]
    log.info("requirements checked", extra={"point": point, "verdicts": checked})
    for verdict in verdicts:
        if verdict.point == point and not verdict.ok:
            log.warning("requirement missed", extra={"requirement": str(verdict), "mode": verdict.mode})


def _require(subject: str, project: Project, verdicts: Sequence[Verdict], remedy: str) -> None:
    binding = [verdict for verdict in verdicts if verdict.mode == "enabled"]
    failed = [str(verdict) for verdict in binding if not verdict.ok]
    if failed:
        raise RequirementsError(
            f"{subject} misses {len(failed)} of {counted(len(binding), 'requirement')}: {'; '.join(failed)}.",
            where=f"include/projects/{project.name}/requirements.yaml",
            remedy=remedy,
        )


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"
