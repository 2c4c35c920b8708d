"""The model card's sections with results on the test: metrics, savings, calibration, segments, importance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from include.plurals import counted
from include.projects.requirements import Costs
from include.reporting import Section, Table
from include.training.card.plots import calibration_plot, importance_plot, lift_plot, saving_plot
from include.training.evaluation.baselines import NO_OFFERS
from include.training.evaluation.decisions import Decisions
from include.training.evaluation.evaluate import Evaluation
from include.training.evaluation.importance import Importance
from include.training.evaluation.segments import ENOUGH_CUSTOMERS, Segment
from include.training.fitting.calibration import Calibration

_TOP_FEATURES = 15
_NONE = "-"
_METRICS = {
    "auc": "area under the ROC curve (AUC)",
    "pr_auc": "average precision",
    "brier": "Brier score",
    "ece": "expected calibration error",
    "observed_over_expected": "observed over expected churn",
}
_DECISIONS = ("precision", "recall", "f1", "accuracy", "offers_per_1000", "saving_usd_per_1000")
_NAMES = {"f1": "F1", "offers_per_1000": "offers per 1,000", "saving_usd_per_1000": "saved, $ per 1,000"}
_HIGH_VALUES = {
    "raise": "raise the risk",
    "lower": "lower the risk",
    "mixed": "either way",
    "category": "by category",
}


def metrics(evaluation: Evaluation) -> Section:
    """Return the metrics on the test set with their intervals, at both thresholds."""
    values = evaluation.metrics()

    def cells(name: str) -> tuple[str, str]:
        ends = evaluation.intervals.get(name)
        return _figure(values[name]), f"{_figure(ends.low)} to {_figure(ends.high)}" if ends else _NONE

    decisions = [(_NAMES.get(name, name), *cells(name), *cells(f"{name}_at_threshold")) for name in _DECISIONS]
    return Section(
        "On the test",
        paragraphs=[
            f"{counted(evaluation.rows, 'row')} of {counted(evaluation.customers, 'customer')}, of which "
            f"{evaluation.positive_ratio:.1%} "
            "churned. The intervals are from a bootstrap over these customers; they do not cover seasons or prices "
            "that differ from the test period."
        ],
        tables=[
            Table(("metric", "value", "95 % interval"), [(title, *cells(name)) for name, title in _METRICS.items()]),
            Table(
                ("decisions", "at 0.5", "95 % interval", f"at {evaluation.threshold:.3g}", "95 % interval"),
                decisions,
                title="Decisions, by threshold",
            ),
        ],
    )


def savings(evaluation: Evaluation, costs: Costs) -> Section:
    """Return the costs and savings of the model's offers, and of the baselines'.

    Args:
        evaluation: The model's metrics.
        costs: The costs of a missed churner and of a needless offer.
    """
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

    no_offers = (NO_OFFERS, "0", f"0 of {churners:,.0f}", f"{churners * costs.missed_churner_usd:,.0f}", "0")
    interval = evaluation.intervals["saving_usd_per_1000_at_threshold"]
    return Section(
        "Savings",
        paragraphs=[
            f"On 1,000 customers the model saves ${evaluation.at_threshold.saving_usd_per_1000:,.0f} "
            f"({interval.low:,.0f} to {interval.high:,.0f}). Perfect predictions would save "
            f"${churners * costs.missed_churner_usd:,.0f}. The figures assume that an offer keeps every churner."
        ],
        tables=[
            Table(
                ("offers by", "offers", "churners reached", "cost, $", "saved, $"),
                [
                    no_offers,
                    *(row(baseline.name, baseline.decisions) for baseline in evaluation.baselines),
                    row(f"the model, at {at_threshold}", evaluation.at_threshold),
                    row("the model, at 0.5", evaluation.at_half),
                ],
                title="Per 1,000 customers",
            )
        ],
    )


def thresholds(evaluation: Evaluation) -> Section:
    """Return the savings at other thresholds."""
    best = max(evaluation.saving_curve, key=lambda point: point.saving_usd_per_1000)
    return Section(
        "Threshold",
        paragraphs=[
            f"The threshold {evaluation.threshold:.3g} follows from the costs. On this test, the savings are largest "
            f"at {best.threshold:.2f} (${best.saving_usd_per_1000:,.0f} per 1,000 customers); a threshold that is "
            "chosen on the test would bias the metrics."
        ],
        plots=[saving_plot(evaluation)],
    )


def calibration(evaluation: Evaluation, made: Calibration) -> Section:
    """Return the comparison of predicted and observed churn, and the comparison of the calibrators.

    Args:
        evaluation: The model's metrics.
        made: The calibrator, and how it was chosen.
    """
    return Section(
        "Calibration",
        badge="warning" if made.warning else "",
        good=not made.warning,
        paragraphs=[
            "Predicted and observed churn on the test, in bins with equal numbers of rows. The mean absolute "
            f"difference over the rows is {evaluation.ece * 100:.1f} percentage points.",
            "The calibrators were fitted on training rows whose labels were known before a period, and scored on the "
            "period. The simplest calibrator whose log loss is within one standard error of the lowest was chosen: "
            f"{made.chosen.name}.",
            *([made.warning] if made.warning else []),
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
            ),
            Table(
                ("calibrator", "log loss", "Brier score"),
                [(score.name, f"{score.log_loss:.5f}", f"{score.brier:.5f}") for score in made.scores],
                title="Calibrators, on periods after the rows of their fit",
            ),
            Table(
                ("period", "rows", "predicted churn", "observed churn"),
                [
                    (block.name, f"{block.rows:,}", f"{block.expected:.1%}", f"{block.observed:.1%}")
                    for block in made.blocks
                ],
                title="The chosen calibrator, fitted on rows before each period",
            ),
        ],
    )


def ranking(evaluation: Evaluation) -> Section:
    """Return the share of churners in each tenth of the customers."""
    first = evaluation.deciles[0]
    return Section(
        "Ranking",
        paragraphs=[
            f"The riskiest tenth contains {first.captured:.0%} of all churners, a lift of {first.lift:.1f}. "
            "Captured is the share of all churners in a tenth and the riskier ones."
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


def segments(evaluated: Sequence[Segment], configured: Sequence[str], descriptions: Mapping[str, str]) -> Section:
    """Return the model's metrics by segment of the customers.

    Args:
        evaluated: The segments.
        configured: The segment features of the project; a note lists the features without segments.
        descriptions: The meaning of each feature, by name.
    """
    shown = {segment.feature for segment in evaluated}
    return Section(
        "Segments",
        paragraphs=[
            "The test rows by the values of a feature; numbers are cut into quarters. Segments of fewer than "
            f"{ENOUGH_CUSTOMERS} customers have no metrics."
            if configured
            else "The project's training.yaml names no segments."
        ],
        items=[
            f"{descriptions[feature]} ({feature}) is left out: fewer than two of its segments have {ENOUGH_CUSTOMERS} "
            "customers."
            for feature in configured
            if feature not in shown
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
            for feature, members in groupby(evaluated, key=lambda segment: segment.feature)
        ],
    )


def _segment(segment: Segment) -> tuple[str, ...]:
    counts = (segment.value, f"{segment.rows:,}", f"{segment.customers:,}")
    found = segment.metrics
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


def importance(ranked: Sequence[Importance]) -> Section:
    """Return the most important features."""
    top = ranked[:_TOP_FEATURES]
    return Section(
        "Feature importance",
        paragraphs=[
            f"The {len(top)} most important of {counted(len(ranked), 'feature')} in use, by the mean "
            f"absolute contribution to the "
            "log-odds of churn (TreeSHAP) on test rows. A contribution describes the model, not the effect "
            "of a change of the feature."
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
