"""The facts of a monitoring result about an incident: whether it starts or ends, its severity, and the details.

The details contain no rows and no customer ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from include.monitoring.decay import decay_severity
from include.training.model.contract import MetricValue

Kind = Literal["drift", "decay"]
KINDS: tuple[Kind, ...] = ("drift", "decay")

_FEATURES_SHOWN = 5
_SAVING = "saving_usd_per_1000"


@dataclass(frozen=True)
class IncidentFacts:
    """The facts of one monitored day about one kind of incident.

    Attributes:
        starts: Whether an incident opens if none is open.
        ends: Whether an open incident ends.
        severity: The severity; None if the day has no verdict.
        model_version: The version of the model that the verdict is about.
        lines: The details, one sentence or figure per line.
    """

    starts: bool
    ends: bool
    severity: float | None
    model_version: str
    lines: tuple[str, ...]


def drift_facts(result: dict[str, Any]) -> IncidentFacts:
    """Return the facts of a result about drift.

    The severity is the largest severity of the judged days, which the verdict also considers. The incident ends when
    none of them exceeds the limits.

    Args:
        result: The content of ``result.json``.
    """
    from include.training.model.reference_profile import SCORE  # imports XGBoost, which messages do not need

    drift = result["drift"]
    judged = drift["days"]
    shown = drift["features"][: drift["drifted_features"]][:_FEATURES_SHOWN]
    scores = [f"Scores: {feature['reason']}" for feature in drift["features"] if feature["name"] == SCORE]
    lines = [
        drift["reason"],
        *(f"Probable cause: {cause}" for cause in result["root_causes"]),
        *(f"{feature['name']}: {feature['reason']}" for feature in shown if feature["name"] != SCORE),
        *scores,
        *_expected_saving(result),
        _training(result),
        drift["promise"],
    ]
    return IncidentFacts(
        starts=drift["drifted"],
        ends=not any(day["exceeds"] for day in judged),
        severity=max(day["severity"] for day in judged),
        model_version=result["model_version"],
        lines=tuple(lines),
    )


def decay_facts(result: dict[str, Any]) -> IncidentFacts:
    """Return the facts of a result about decay. A day without a verdict neither starts nor ends an incident.

    Args:
        result: The content of ``result.json``.
    """
    performance, deployed = result["performance"], result["model_version"]
    if not performance["models"]:
        return IncidentFacts(False, False, None, deployed, (performance["reason"],))
    model = performance["models"][0]
    metrics, promised = (
        {name: MetricValue(**value) for name, value in model[key].items()} for key in ("metrics", "promised")
    )
    known = model["verdict"] != "no verdict"
    lines = [performance["reason"], _money("Realised saving", metrics.get(_SAVING), promised.get(_SAVING))]
    if model["model_version"] != deployed:
        lines.append(f"Model version {deployed} is deployed; the labels of its scores are not yet known.")
    lines.append(_training(result))
    return IncidentFacts(
        starts=model["verdict"] == "decayed",
        ends=model["verdict"] == "not decayed",
        severity=decay_severity(metrics, promised) if known else None,
        model_version=model["model_version"],
        lines=tuple(lines),
    )


def _expected_saving(result: dict[str, Any]) -> list[str]:
    saving = result["expected_saving_usd_per_1000"]
    lines = [
        f"Expected saving per 1,000 customers, from the scores: ${saving['current']:,.0f}; "
        f"of the training data: ${saving['reference']:,.0f}."
    ]
    estimate = (result["expected"]["metrics"] or {}).get(_SAVING)
    if estimate:
        lines.append(_money("Estimated saving of the day's list", MetricValue(**estimate), None))
    return lines


def _money(name: str, value: MetricValue | None, test: MetricValue | None) -> str:
    parts = [f"{name} per 1,000 customers: {_interval(value) if value else 'not known'}"]
    parts += [f"on the test {_interval(test)}"] if test else []
    return ", ".join(parts) + "."


def _interval(value: MetricValue) -> str:
    return f"${value.value:,.0f} (${value.low:,.0f} to ${value.high:,.0f})"


def _training(result: dict[str, Any]) -> str:
    if result["retrain_reason"] is not None:
        return "A training has been requested."
    return f"No training has been requested. {result['retrain_refusal'] or ''}".strip()
