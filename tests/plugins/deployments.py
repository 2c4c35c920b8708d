"""A deployed model without a booster."""

from __future__ import annotations

import json

from include.serving.deployment.state import BentoReference
from include.settings import Settings
from tests.serving.servers import record_deployment


def deploy(settings: Settings, version: str = "7") -> None:
    """Record a deployment of a model version with the part of its contract that pages show."""
    bento = settings.serving_dir / f"bento-{version}"
    bundle = bento / "src" / "bundle"
    bundle.mkdir(parents=True)
    contract = {"project": settings.project, "trained_through": "2017-09-24", "threshold": 0.0913}
    (bundle / "contract.json").write_text(json.dumps(contract))
    record_deployment(settings.serving_dir, BentoReference(f"churn:{version}", version, str(bento), settings.project))
