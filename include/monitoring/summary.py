"""The summary of a monitored day: the figures of ``result.json`` that charts over many days need, in a few kB."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from include.training.model.contract import MetricValue

SUMMARY_FILE = "summary.json"
_METRICS = ("auc", "saving_usd_per_1000", "observed_over_expected", "observed_churn")
_DIGITS = 3


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, protected_namespaces=())


class SourceSummary(_Frozen):
    """The deliveries of one source; see ``SourceHealth``.

    Attributes:
        name: The source.
        counts: Whether its severity counts for the verdict of drift.
        exceeds: Whether it makes the day exceed the limits.
        severity: The fall of its rows, or its days without rows, divided by their limit.
        rows: The rows of the window.
        expected_rows: The expected rows of the window; None if they are unknown.
        newest: The newest day with rows; None if there is none.
        days_without_rows: The loaded days since then.
        longest_gap: The longest earlier gap, in days; None if it is unknown.
        findings: The unusual properties, in words.
    """

    name: str
    counts: bool
    exceeds: bool
    severity: float
    rows: int
    expected_rows: float | None
    newest: dt.date | None
    days_without_rows: int
    longest_gap: int | None
    findings: tuple[str, ...]


class RealisedSummary(_Frozen):
    """The realised performance of the version with the latest matured scores; see ``ModelPerformance``.

    Attributes:
        model_version: The version.
        first_day: The first scored day that is evaluated.
        last_day: The last scored day that is evaluated.
        customers: The number of customers.
        churners: The number of those who churned.
        metrics: The realised metrics with their 95 % intervals.
        promised: The same metrics on the test of the model's recipe.
        verdict: ``decayed``, ``not decayed`` or ``no verdict``.
    """

    model_version: str
    first_day: dt.date
    last_day: dt.date
    customers: int
    churners: int
    metrics: dict[str, MetricValue]
    promised: dict[str, MetricValue]
    verdict: str


class ExpectedSummary(_Frozen):
    """The expected performance of the day's scores; see ``Expected``.

    Attributes:
        model_version: The version of the scores.
        customers: The number of scored customers.
        metrics: The estimated metrics with their 95 % intervals; empty without an estimate.
    """

    model_version: str
    customers: int
    metrics: dict[str, MetricValue]


class DaySummary(_Frozen):
    """The figures of one monitored day.

    Attributes:
        project: The project.
        day: The monitored day.
        model_version: The deployed version.
        drifted: Whether the verdict is drift.
        severity: The largest severity of the features that count and of the sources, on the last judged day.
        features_day: The judged day of the following severities; see ``DriftVerdict``.
        severities: The severity of each feature with a significant change; see ``FeatureDrift``.
        drifted_features: The drifted features that count for the verdict.
        informing_features: The drifted features whose influence is too low to count.
        root_causes: The probable causes, in words.
        sources: The deliveries of the sources.
        realised: The realised performance; None until a scored day has matured.
        expected: The expected performance; None if the day has not been scored.
        retrain_reason: The reason of the training request; None without a request.
    """

    project: str
    day: dt.date
    model_version: str
    drifted: bool
    severity: float
    features_day: dt.date
    severities: dict[str, float]
    drifted_features: tuple[str, ...]
    informing_features: tuple[str, ...]
    root_causes: tuple[str, ...]
    sources: tuple[SourceSummary, ...]
    realised: RealisedSummary | None
    expected: ExpectedSummary | None
    retrain_reason: str | None


def summarise(result: Mapping[str, Any]) -> DaySummary:
    """Return the summary of a monitoring result.

    Args:
        result: The content of ``result.json``; see ``monitor_day``.
    """
    drift, features = result["drift"], result["drift"]["features"]
    drifted = [feature for feature in features if feature["drifted"]]
    return DaySummary(
        project=result["project"],
        day=result["day"],
        model_version=result["model_version"],
        drifted=drift["drifted"],
        severity=round(drift["days"][-1]["severity"], _DIGITS),
        features_day=drift["features_day"],
        severities={item["name"]: round(item["severity"], _DIGITS) for item in features if item["severity"] > 0},
        drifted_features=tuple(item["name"] for item in drifted if item["counts"]),
        informing_features=tuple(item["name"] for item in drifted if not item["counts"]),
        root_causes=tuple(result["root_causes"]),
        sources=tuple(_source(source) for source in result["sources"]),
        realised=_realised(result["performance"]["models"]),
        expected=_expected(result["expected"]),
        retrain_reason=result["retrain_reason"],
    )


def _source(source: dict[str, Any]) -> SourceSummary:
    findings = tuple(finding["text"] for finding in source["findings"])
    return SourceSummary.model_validate(source | {"findings": findings, "severity": round(source["severity"], _DIGITS)})


def _realised(models: list[dict[str, Any]]) -> RealisedSummary | None:
    if not models:
        return None
    figures = {name: _metrics(models[0][name]) for name in ("metrics", "promised")}
    return RealisedSummary.model_validate(models[0] | figures)


def _expected(expected: dict[str, Any]) -> ExpectedSummary | None:
    if expected["model_version"] is None:
        return None
    return ExpectedSummary.model_validate(expected | {"metrics": _metrics(expected["metrics"] or {})})


def _metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {name: metrics[name] for name in _METRICS if name in metrics}
