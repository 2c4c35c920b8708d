"""``readiness.yaml``: the approvals of people, and the periods after which evidence of readiness is stale."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from pydantic import Field, PositiveInt

from include.projects.yaml_files import Config

Subject = Literal["features", "requirements"]
"""The subject of an approval: the file of the project with this name."""

CheckName = Literal[
    "sources_documented",
    "data_validation",
    "data_versioned",
    "feature_store",
    "features_approved",
    "model_requirements",
    "requirements_approved",
    "training_automated",
    "baseline_metrics",
    "model_registered",
    "experiment_tracked",
    "tests_pass",
    "model_card",
    "architecture_documented",
    "no_leakage",
    "model_deployed",
    "provenance",
    "ci_cd",
    "rollback_tested",
    "load_test",
    "infrastructure_as_code",
    "capacity",
    "dashboards",
    "drift_monitoring",
    "alerts",
    "retraining",
    "runbook",
    "restore_drill",
]
"""The names of the readiness checks, in the order of the gates."""


class Approval(Config):
    """The approval of a part of the project by a person.

    Attributes:
        what: What was approved.
        by: The name of the person.
        on: The day of the approval.
        of: The checksum of what was approved, as ``python -m include.readiness`` prints it. After a change of the
            content, the approval no longer counts.
    """

    what: Subject
    by: str = Field(min_length=1)
    on: dt.date
    of: str = Field(pattern=r"^[0-9a-f]{16}$")


class Readiness(Config):
    """The contents of ``readiness.yaml``.

    Attributes:
        stale_after_days: The age in days above which evidence is stale.
        stale_after_days_by_check: Other ages, by the name of the check.
        approvals: The approvals.
    """

    stale_after_days: PositiveInt = 30
    stale_after_days_by_check: dict[CheckName, PositiveInt] = Field(default_factory=dict)
    approvals: list[Approval] = Field(default_factory=list)

    def stale_after(self, check: CheckName) -> dt.timedelta:
        """Return the age above which the evidence of a check is stale."""
        return dt.timedelta(days=self.stale_after_days_by_check.get(check, self.stale_after_days))
