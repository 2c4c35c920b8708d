"""Contracts of small models for tests."""

from __future__ import annotations

import datetime as dt
from typing import Any

from include.training.model.contract import FeatureContract, ModelContract


def contract_of(*features: FeatureContract, **changes: Any) -> ModelContract:
    """Return the contract of a model with ``features``; ``changes`` replace other attributes."""
    content: dict[str, Any] = {
        "project": "synthetic",
        "run_id": "run",
        "trained_through": dt.date(2017, 6, 30),
        "label": "churned",
        "horizon_days": 28,
        "threshold": 0.1,
    }
    return ModelContract(**content | changes, features=features)
