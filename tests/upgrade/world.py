"""The project of the recorded deployment in the form of this release."""

from __future__ import annotations

from pathlib import Path

from include.projects import Project
from include.settings import Settings
from tests.upgrade.stored import restore
from tests.versions.world import short_project

RECORD = Path(__file__).parent / "releases" / "0.1.0.json"


def small_project() -> Project:
    """Return the project of ``releases/build_0_1_0.py``."""
    content = short_project().model_dump()
    content["training"]["n_trials"] = 2
    content["training"]["search_space"]["n_estimators"] = {"low": 5, "high": 8}
    content["training"]["search_space"]["max_depth"] = {"low": 2, "high": 2}
    content["requirements"]["data"] |= {"min_training_samples": 10}
    content["checks"]["coupon_redemptions"]["minimum_pass_share"] = 0.5
    return Project.model_validate(content)


def old_home(home: Path) -> Settings:
    """Write the deployment of release 0.1.0."""
    return restore(RECORD, home)
