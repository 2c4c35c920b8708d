"""The model card's chapters about what a model does: its figures on the test, and what they are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from include.projects.requirements import Costs
from include.reporting import Section, Table
from include.training.card.plots import calibration_plot, importance_plot, lift_plot, saving_plot
from include.training.evaluation.decisions import Decisions
from include.training.evaluation.evaluation import Evaluation
from include.training.evaluation.importance import Importance
from include.training.evaluation.segments import ENOUGH_CUSTOMERS, Segment

_TOP_FEATURES = 15
_NONE = "-"
_FIGURES = {
    "auc": "area under the ROC curve (AUC)",
    "pr_auc": "average precision",
    "brier": "Brier score",
    "ece": "expected calibration error",
    "observed_over_expected": "observed over expected churn",
}
_DECIDED = ("precision", "recall", "f1", "accuracy", "offers_per_1000", "saving_usd_per_1000")
_NAMES = {"f1": "F1", "offers_per_1000": "offers per 1,000", "saving_usd_per_1000": "saved, $ per 1,000"}
_HIGH_VALUES = {
    "raise": "raise the risk",
    "lower": "lower the risk",
    "mixed": "either way",
    "category": "by category",
}


def figures(evaluation: Evaluation) -> Section:
    """Return the figures on the test, with their intervals, at both thresholds."""
    metrics = evaluation.metrics()

    def cells(name: str) -> tuple[str, str]:
        ends = evaluation.intervals.get(name)
        return _figure(metrics[name]), f"{_figure(ends.low)} to {_figure(ends.high)}" if ends else _NONE

    decided = [(_NAMES.get(name, name), *cells(name), *cells(f"{name}_at_threshold")) for name in _DECIDED]
    return Section(
        "On the test",
        paragraphs=[
            f"{evaluation.rows:,} rows of {evaluation.customers:,} customers, of which {evaluation.positive_ratio:.1%} "
            "churned. The intervals come of drawing these customers anew, each with all of their rows; they know "
            "nothing of a season or a price that the test has not seen."
        ],
        tables=[
            Table(("figure", "value", "95 % interval"), [(title, *cells(name)) for name, title in _FIGURES.items()]),
            Table(
                ("decision", "from 0.5", "95 % interval", f"from {evaluation.threshold:.3g}", "95 % interval"),
                decided,
                title="Decisions, by the smallest probability that gets an offer",
            ),
        ],
    )


def money(evaluation: Evaluation, costs: Costs) -> Section:
    """Return what the model's offers cost and save against doing without it."""
    churners = evaluation.positive_ratio * 1000
    at_threshold = f"{evaluation.threshold:.3g}"

    def row(name: str, decisions: Decisions) -> tuple[str, ...]:
        cost = churners * costs.missed_churner_usd - decisions.saving_usd_per_1000
        reached = churners * decisions.recall
        return (
            name,
            f"{decisions.offers_per_1000:,.0f}",
            f"{reached:,.0f} of {churners:,.0f}",
            f"{cost:,.0f}",
            f"{decisions.saving_usd_per_1000:,.0f}",
        )

    nobody = ("offer to nobody", "0", f"0 of {churners:,.0f}", f"{churners * costs.missed_churner_usd:,.0f}", "0")
    interval = evaluation.intervals["saving_usd_per_1000_at_threshold"]
    return Section(
        "Money",
        paragraphs=[
            f"On 1,000 customers the model saves ${evaluation.at_threshold.saving_usd_per_1000:,.0f} "
            f"({interval.low:,.0f} to {interval.high:,.0f}). To know every churner in advance would save "
            f"${churners * costs.missed_churner_usd:,.0f}. An offer is taken to keep every churner who gets it."
        ],
        tables=[
            Table(
                ("way to choose", "offers", "churners reached", "missed and needless, $", "saved, $"),
                [
                    nobody,
                    *(row(rule.name, rule.decisions) for rule in evaluation.rules),
                    row(f"the model, from {at_threshold}", evaluation.at_threshold),
                    row("the model, from 0.5", evaluation.at_half),
                ],
                title="Per 1,000 customers",
            )
        ],
    )


def thresholds(evaluation: Evaluation) -> Section:
    """Return what other thresholds would save on the test."""
    best = max(evaluation.saving_curve, key=lambda point: point.saving_usd_per_1000)
    return Section(
        "The threshold",
        paragraphs=[
            f"The threshold {evaluation.threshold:.3g} follows from the costs alone. On this test the most would have "
            f"been saved from {best.threshold:.2f} (${best.saving_usd_per_1000:,.0f} per 1,000 customers); a threshold "
            "chosen on the test would flatter the model, so that none is."
        ],
        plots=[saving_plot(evaluation)],
    )


def calibration(evaluation: Evaluation) -> Section:
    """Return whether the probabilities mean what they say."""
    return Section(
        "Calibration",
        paragraphs=[
            "Predicted and observed churn in bins with the same number of rows. On average over the rows they differ "
            f"by {evaluation.ece * 100:.1f} percentage points."
        ],
        plots=[calibration_plot(evaluation)],
        tables=[
            Table(
                ("rows", "predicted churn", "observed churn"),
                [
                    (f"{part.rows:,}", f"{part.predicted:.1%}", f"{part.observed:.1%}")
                    for part in evaluation.reliability
                ],
                texts=0,
            )
        ],
    )


def ranking(evaluation: Evaluation) -> Section:
    """Return how many churners each tenth of the customers holds."""
    first = evaluation.deciles[0]
    return Section(
        "Ranking",
        paragraphs=[
            f"The riskiest tenth holds {first.captured:.0%} of all churners, {first.lift:.1f} times its share. "
            "Captured is the share of all churners that a tenth and the riskier ones hold."
        ],
        plots=[lift_plot(evaluation)],
        tables=[
            Table(
                ("tenth", "rows", "churners", "lift", "captured"),
                [
                    (
                        f"{part.number}",
                        f"{part.rows:,}",
                        f"{part.churners:,}",
                        f"{part.lift:.2f}",
                        f"{part.captured:.1%}",
                    )
                    for part in evaluation.deciles
                ],
                texts=0,
            )
        ],
    )


def segments(judged: Sequence[Segment], descriptions: Mapping[str, str]) -> Section:
    """Return the model's figures by segment of the customers; ``descriptions`` says what each feature means."""
    return Section(
        "Segments",
        paragraphs=[
            "The test rows by a feature's values; numbers are cut in quarters. A segment of fewer than "
            f"{ENOUGH_CUSTOMERS} customers is counted, not judged."
            if judged
            else "The project's training.yaml names none."
        ],
        tables=[
            Table(
                (
                    "segment",
                    "rows",
                    "customers",
                    "churned",
                    "mean probability",
                    "AUC",
                    "offers per 1,000",
                    "saved, $ per 1,000",
                ),
                [_segment(segment) for segment in members],
                title=f"{descriptions[feature]} ({feature})",
            )
            for feature, members in groupby(judged, key=lambda segment: segment.feature)
        ],
    )


def _segment(segment: Segment) -> tuple[str, ...]:
    counts = (segment.value, f"{segment.rows:,}", f"{segment.customers:,}")
    found = segment.figures
    if found is None:
        return (*counts, *[_NONE] * 5)
    return (
        *counts,
        f"{found.positive_ratio:.1%}",
        f"{found.mean_probability:.1%}",
        _NONE if found.auc is None else f"{found.auc:.3f}",
        f"{found.offers_per_1000:,.0f}",
        f"{found.saving_usd_per_1000:,.0f}",
    )


def features(ranked: Sequence[Importance]) -> Section:
    """Return the features that the model listens to most."""
    top = ranked[:_TOP_FEATURES]
    return Section(
        "What it listens to",
        paragraphs=[
            f"The {len(top)} most important of {len(ranked)} features in use, by the mean absolute contribution to the "
            "log-odds of churn (TreeSHAP) on test rows. A contribution is what the model makes of a feature, not what "
            "would happen if it changed."
        ],
        plots=[importance_plot(top)],
        tables=[
            Table(
                ("feature", "meaning", "high values", "mean contribution"),
                [
                    (one.feature, one.description, _HIGH_VALUES[one.high_values], f"{one.mean_contribution:.3f}")
                    for one in top
                ],
                texts=3,
            )
        ],
    )


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.3f}"
