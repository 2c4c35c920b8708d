"""The published model card of a version: in the folder of reports, with its figures as JSON for the pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from include.local_files import write_atomically
from include.projects import Project
from include.settings import Settings
from include.training.candidate import TEST_METRICS
from include.training.evaluation.leakage import LEAKAGE_FILE
from include.training.release.promotion import PROMOTION_TAG, Approval, PromotionResult, promote
from include.training.release.registry import Registry, RegistryError, VersionRecord
from include.training.release.tracking import CARD_PAGE, COMPARISON_FILE

KIND = "model"
MODEL_FILE = "model.json"
_TAGS = ("trained_through", "evaluated_through", "history", "request_reason")


def published_card(version: str) -> str:
    """Return the path of a version's published card, relative to the folder of reports."""
    return f"{KIND}/{version}/{CARD_PAGE}"


def publish_model(settings: Settings, version: str) -> Path:
    """Write a version's ``model_card.html`` and ``model.json`` from the registry, and return the path of the latter.

    ``model.json`` has ``format``, ``project``, ``version``, ``run_id``, ``trained_through``, ``evaluated_through``,
    ``history`` (the weights of the rows by age), ``request_reason``, ``metrics`` (on the test, each with ``value``,
    ``low`` and ``high``), ``comparison`` (see ``Comparison``), ``leakage`` (the findings) and ``decision`` (see
    ``PromotionResult``; None before the decision). Another call replaces the files.

    Args:
        settings: The project, the registry and the folder of reports.
        version: The version.

    Raises:
        RegistryError: The registry cannot be reached, or lacks the version or its card.
    """
    registry = Registry(settings)
    record = registry.record(version)

    def document(name: str) -> Any:
        content = registry.document(version, name)
        return json.loads(content) if content else None

    model = {
        "format": 1,
        "project": settings.project,
        "version": version,
        "run_id": record.run_id,
        **{name: record.tags.get(name) for name in _TAGS},
        "metrics": metrics_on_test(record),
        "comparison": document(COMPARISON_FILE),
        "leakage": (document(LEAKAGE_FILE) or {}).get("findings"),
        "decision": json.loads(record.tags.get(PROMOTION_TAG, "null")),
    }
    card = registry.document(version, CARD_PAGE)
    if card is None:
        raise RegistryError(
            "The run has no model card.",
            where=f"{registry.name} version {version}",
            remedy="Train the model again with churn_train.",
        )
    target = settings.reports_dir / published_card(version)
    write_atomically(target, card)
    write_atomically(target.with_name(MODEL_FILE), json.dumps(model, indent=1, allow_nan=False))
    return target.with_name(MODEL_FILE)


def decide_promotion(
    settings: Settings, project: Project, version: str, approval: Approval | None = None
) -> PromotionResult:
    """Decide on a promotion as ``promote`` does, and publish the model card, also if the model is not promoted.

    Args:
        settings: The project, the registry and the folder of reports.
        project: Whether a promotion requires an approval.
        version: The challenger's version.
        approval: A person's decision; None if it was not requested.

    Raises:
        LeakageError: The challenger has leakage findings, or was not checked.
        PromotionError: The training recorded no comparison, or the champion has changed since.
        RegistryError: The registry cannot be reached, or lacks the version or its card.
    """
    try:
        return promote(settings, project, version, approval)
    finally:
        publish_model(settings, version)


def metrics_on_test(record: VersionRecord) -> dict[str, dict[str, float]]:
    """Return the metrics on the test of a version's recipe, each with ``value``, ``low`` and ``high``."""
    found = record.metrics
    return {
        name: {"value": found[key], "low": found[f"{key}_low"], "high": found[f"{key}_high"]}
        for name, key in TEST_METRICS.items()
        if f"{key}_low" in found
    }
