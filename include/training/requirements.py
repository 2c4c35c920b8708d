"""What a project requires of its training data and its model: checked before and after training, the verdicts kept.

Each group of ``requirements.yaml`` has a mode: ``enabled`` stops a training that misses a requirement, ``dry_run``
reports it and goes on, ``disabled`` does not check. Verdicts are kept before the run stops, so that they outlive it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from include.errors import ChurnflowError
from include.logs import get_logger
from include.projects import Project
from include.projects.requirements import Mode
from include.training.data.dataset import DatasetManifest, DatasetRef
from include.training.handover import write_result

log = get_logger(__name__)

REQUIREMENTS_FILE = "requirements.json"
"""The verdicts in a data set's folder, and in the MLflow run of the training."""

Point = Literal["before_training", "after_training", "under_load"]


class RequirementsError(ChurnflowError):
    """The training data or the model is not what the project's requirements ask for."""


@dataclass(frozen=True)
class Verdict:
    """One requirement against what was found.

    Attributes:
        name: The requirement.
        bound: Whether ``required`` is the smallest or the largest value allowed.
        required: The limit.
        found: The value.
        point: When it was checked.
        mode: What happens when it is missed.
    """

    name: str
    bound: Literal["min", "max"]
    required: float
    found: float
    point: Point
    mode: Mode

    @property
    def ok(self) -> bool:
        """Whether the requirement is met; a value that is not a number never meets one."""
        return self.found >= self.required if self.bound == "min" else self.found <= self.required

    @property
    def missing(self) -> float:
        """By how much the requirement is missed, in its own unit; zero when it is met."""
        return 0.0 if self.ok else abs(self.required - self.found)

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as plain JSON types."""
        return asdict(self) | {"ok": self.ok, "missing": self.missing}

    def __str__(self) -> str:
        text = f"{self.name} is {_number(self.found)}, required is {self.bound} {_number(self.required)}"
        side = "missing" if self.bound == "min" else "too many"
        return text if self.ok else f"{text} ({_number(self.missing)} {side})"


def check_data(project: Project, manifest: DatasetManifest) -> list[Verdict]:
    """Compare a data set with the project's data requirements; raises nothing."""
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
    """Check a data set, keep the verdicts in its folder, and return them.

    Raises:
        RequirementsError: It is not fit for training; the message says by how much each requirement is missed.
    """
    verdicts = check_data(project, dataset.manifest)
    keep_verdicts(dataset.folder, verdicts)
    _report("before_training", verdicts)
    _refuse("The training data", project, verdicts, "Ingest more days or customers, or correct the requirement.")
    return verdicts


def check_model(project: Project, metrics: dict[str, float], training_seconds: float) -> list[Verdict]:
    """Compare a model with the baselines and the time that training may take; raises nothing.

    Args:
        project: Requires them.
        metrics: The model's figures on the test, with decisions at a probability of 0.5.
        training_seconds: Wall time of the training.
    """
    baselines, performance = project.requirements.metrics, project.requirements.performance
    hours = training_seconds / 3600
    verdicts = [
        *(
            Verdict(name, "min", limit, metrics[name], "after_training", baselines.mode)
            for name, limit in baselines.limits().items()
        ),
        Verdict("training_hours", "max", performance.max_training_hours, hours, "after_training", performance.mode),
    ]
    return [verdict for verdict in verdicts if verdict.mode != "disabled"]


def require_model(project: Project, verdicts: Sequence[Verdict]) -> None:
    """Refuse a model that misses a requirement whose mode is ``enabled``.

    Raises:
        RequirementsError: It misses one; the message says by how much.
    """
    _report("after_training", verdicts)
    _refuse("The model", project, verdicts, "Improve the features, or correct the requirement.")


def keep_verdicts(folder: Path, verdicts: Sequence[Verdict]) -> None:
    """Write the verdicts into the data set's folder, in place of earlier ones."""
    write_result(folder / REQUIREMENTS_FILE, verdicts_document(verdicts))


def verdicts_document(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Return the document that is kept of ``verdicts``, as plain JSON types."""
    return {"verdicts": [verdict.as_dict() for verdict in verdicts]}


def _report(point: Point, verdicts: Sequence[Verdict]) -> None:
    checked = [verdict.as_dict() for verdict in verdicts if verdict.point == point]
    log.info("requirements checked", extra={"point": point, "verdicts": checked})
    for verdict in verdicts:
        if verdict.point == point and not verdict.ok:
            log.warning("requirement missed", extra={"requirement": str(verdict), "mode": verdict.mode})


def _refuse(what: str, project: Project, verdicts: Sequence[Verdict], remedy: str) -> None:
    binding = [verdict for verdict in verdicts if verdict.mode == "enabled"]
    failed = [str(verdict) for verdict in binding if not verdict.ok]
    if failed:
        raise RequirementsError(
            f"{what} misses {len(failed)} of {len(binding)} requirements: {'; '.join(failed)}.",
            where=f"include/projects/{project.name}/requirements.yaml",
            remedy=remedy,
        )


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"
