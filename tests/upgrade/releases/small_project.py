"""The project of the recorded deployment; the code of release 0.1.0 and the tests of this release use it."""

from __future__ import annotations

from include.projects import Project
from tests.versions.world import short_project


def small_project() -> Project:
    """Return the grocery project with short windows and a tiny model."""
    content = short_project().model_dump()
    content["training"]["n_trials"] = 2
    content["training"]["search_space"]["n_estimators"] = {"low": 5, "high": 8}
    content["training"]["search_space"]["max_depth"] = {"low": 2, "high": 2}
    content["requirements"]["data"] |= {"min_training_samples": 10}
    content["checks"]["coupon_redemptions"]["minimum_pass_share"] = 0.5
    return Project.model_validate(content)
