"""The form with which a person approves or rejects a promotion."""

from __future__ import annotations

import re
from dataclasses import dataclass

from include.settings import Settings
from include.training.evaluation.leakage import LEAKAGE_FILE, LeakageReport
from include.training.release.promotion import usable_comparison
from include.training.release.publish import metrics_on_test
from include.training.release.registry import Registry, VersionRecord

_SHOWN = {
    "auc": ("AUC", "{:.3f}"),
    "saving_usd_per_1000": ("saved, $ per 1,000 customers", "{:,.0f}"),
    "observed_over_expected": ("observed / expected churn", "{:.2f}"),
}
_MARKUP = re.compile(r"([\\`*_{}\[\]()<>#|~!])")


@dataclass(frozen=True)
class ApprovalForm:
    """The title and the text of a form; the text is Markdown."""

    title: str
    text: str


def approval_form(settings: Settings, version: str, card_url: str) -> ApprovalForm | None:
    """Return the form for a version; None if no approval can promote it, or if it already is the champion.

    Args:
        settings: The project and the registry.
        version: The challenger's version.
        card_url: The address of its published card.

    Raises:
        LeakageError: The challenger has leakage findings, or was not checked.
        PromotionError: The training recorded no comparison, or the champion has changed since.
        RegistryError: The registry cannot be reached, or lacks the version.
    """
    registry = Registry(settings)
    champion = registry.version_of("champion")
    if champion == version:
        return None
    comparison = usable_comparison(registry, version, champion)
    if not comparison.promote:
        return None
    challenger = registry.record(version)
    models = {f"version {version}": challenger}
    if champion is not None:
        models[f"champion, version {champion}"] = registry.record(champion)
    leakage = LeakageReport.model_validate_json(registry.document(version, LEAKAGE_FILE) or b"")
    lines = [
        f"Training requested: {_plain(challenger.tags.get('request_reason', 'not known'))}",
        _plain(comparison.reason),
        _table(models),
        "Each model was tested on its own latest snapshots; the intervals have 95 % confidence.",
        f"Leakage: none found.{''.join(f' Not checked: {_plain(reason)}.' for reason in leakage.skipped)}",
        f"[Model card]({card_url})",
    ]
    return ApprovalForm(f"Promote {registry.name} version {version}?", "\n\n".join(lines))


def _table(models: dict[str, VersionRecord]) -> str:
    """Return a table with the metrics on the tests and the training days as one Markdown paragraph."""
    metrics = [metrics_on_test(record) for record in models.values()]
    rows = [["on the test", *models], ["---"] * (len(models) + 1)]
    for name, (title, number) in _SHOWN.items():
        rows.append([title, *(_cell(number, found.get(name)) for found in metrics)])
    rows.append(["trained through", *(record.tags.get("trained_through", "-") for record in models.values())])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(number: str, value: dict[str, float] | None) -> str:
    if value is None:
        return "-"
    found, low, high = (number.format(value[key]) for key in ("value", "low", "high"))
    return f"{found} ({low} to {high})"


def _plain(text: str) -> str:
    """Return a text whose characters have no meaning in Markdown."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))
