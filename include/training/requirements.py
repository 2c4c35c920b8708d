"""What a project requires of its training data and its model, checked before and after training."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from include.errors import ChurnflowError
from include.logs import get_logger
from include.projects import Project
from include.training.dataset import DatasetManifest

log = get_logger(__name__)


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
    """

    name: str
    bound: Literal["min", "max"]
    required: float
    found: float

    @property
    def ok(self) -> bool:
        """Whether the requirement is met; a value that is not a number never meets one."""
        return self.found >= self.required if self.bound == "min" else self.found <= self.required

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as plain JSON types."""
        return asdict(self) | {"ok": self.ok}

    def __str__(self) -> str:
        gap = abs(self.required - self.found)
        amount = f"{gap:,.0f}" if float(self.required).is_integer() and self.required > 1 else f"{gap:.4f}"
        side = "missing" if self.bound == "min" else "too many"
        return f"{self.name} is {self.found:g}, required is {self.bound} {self.required:g} ({amount} {side})"


def check_data(project: Project, manifest: DatasetManifest) -> list[Verdict]:
    """Compare a data set with the project's data requirements; raises nothing."""
    data = project.requirements.data
    return [
        Verdict("training_samples", "min", data.min_training_samples, manifest.train.rows),
        Verdict("positive_ratio", "min", data.min_positive_ratio, manifest.train.positive_ratio),
        Verdict("features", "min", data.min_features, len(manifest.features)),
        Verdict("features", "max", data.max_features, len(manifest.features)),
    ]


def require_data(project: Project, manifest: DatasetManifest) -> list[Verdict]:
    """Return the verdicts on a data set that is fit for training.

    Raises:
        RequirementsError: It is not; the message says by how much each requirement is missed.
    """
    verdicts = check_data(project, manifest)
    _refuse("The training data misses", project, verdicts, "Ingest more days or customers, or correct the requirement.")
    return verdicts


def check_model(project: Project, metrics: dict[str, float], training_seconds: float) -> list[Verdict]:
    """Compare a model with the baselines (at a probability of 0.5) and the time that training may take.

    Returns:
        The verdicts; none when the project's ``metrics_mode`` is ``disabled``.
    """
    requirements = project.requirements
    if requirements.metrics_mode == "disabled":
        return []
    verdicts = [Verdict(name, "min", limit, metrics[name]) for name, limit in requirements.metrics]
    hours = Verdict("training_hours", "max", requirements.performance.max_training_hours, training_seconds / 3600)
    return [*verdicts, hours]


def require_model(project: Project, verdicts: list[Verdict]) -> None:
    """Refuse a model that misses a requirement when ``metrics_mode`` is ``enabled``; ``dry_run`` only reports.

    Raises:
        RequirementsError: The mode is ``enabled`` and a verdict is not ok.
    """
    for verdict in verdicts:
        if not verdict.ok:
            log.warning(
                "requirement missed", extra={"requirement": str(verdict), "mode": project.requirements.metrics_mode}
            )
    if project.requirements.metrics_mode == "enabled":
        _refuse("The model misses", project, verdicts, "Improve the features, or correct the requirement.")


def _refuse(what: str, project: Project, verdicts: list[Verdict], remedy: str) -> None:
    failed = [str(verdict) for verdict in verdicts if not verdict.ok]
    if failed:
        raise RequirementsError(
            f"{what} {len(failed)} of {len(verdicts)} requirements: {'; '.join(failed)}.",
            where=f"include/projects/{project.name}/requirements.yaml",
            remedy=remedy,
        )
