"""The plots of the model card as SVG. Equal metrics give files with equal bytes."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from include.reporting import Plot
from include.reporting.plots import BLUE, GREY, VERMILION, drawing
from include.training.evaluation.evaluate import Evaluation
from include.training.evaluation.importance import Importance


def calibration_plot(evaluation: Evaluation) -> Plot:
    """Draw predicted against observed churn."""
    bins = evaluation.reliability
    predicted, observed = [part.predicted for part in bins], [part.observed for part in bins]
    end = min(1.0, max(*predicted, *observed) * 1.08)
    with drawing("calibration", 5.2, 4.6) as (axes, drawn):
        axes.plot([0, end], [0, end], color=GREY, linestyle="--", linewidth=1, label="calibrated")
        axes.plot(predicted, observed, color=BLUE, marker="o", label="the model")
        axes.set(xlim=(0, end), ylim=(0, end), xlabel="Predicted churn, %", ylabel="Observed churn, %")
        _percent(axes)
        axes.set_title("Predicted and observed churn")
        axes.grid(True)
        axes.legend(loc="upper left")
    alt = f"Predicted and observed churn in {len(bins)} bins of equal size: " + "; ".join(
        f"{part.predicted:.1%} and {part.observed:.1%}" for part in bins
    )
    return Plot("calibration", alt + ".", drawn.getvalue())


def lift_plot(evaluation: Evaluation) -> Plot:
    """Draw the lift of each tenth of the customers."""
    deciles = evaluation.deciles
    with drawing("lift", 5.6, 3.6) as (axes, drawn):
        bars = axes.bar([part.number for part in deciles], [part.lift for part in deciles], color=BLUE, width=0.75)
        axes.bar_label(bars, fmt="%.1f", padding=2)
        axes.axhline(1, color=VERMILION, linestyle="--", linewidth=1.2, label="random order")
        axes.set_xticks([part.number for part in deciles])
        axes.set(xlabel="Tenth of the customers, the riskiest first", ylabel="Lift")
        axes.set_title("Lift by tenth")
        axes.margins(y=0.12)
        axes.legend(loc="upper right")
    alt = "Lift by tenth of the customers, the riskiest first: " + ", ".join(f"{part.lift:.1f}" for part in deciles)
    return Plot("lift", alt + ".", drawn.getvalue())


def saving_plot(evaluation: Evaluation) -> Plot:
    """Draw the savings by threshold, with the chosen threshold marked."""
    curve, chosen = evaluation.saving_curve, evaluation.at_threshold.saving_usd_per_1000
    with drawing("saving", 6.4, 3.8) as (axes, drawn):
        axes.axhline(0, color=GREY, linewidth=0.8)
        axes.plot(
            [point.threshold for point in curve],
            [point.saving_usd_per_1000 for point in curve],
            color=BLUE,
            label="the model, by threshold",
        )
        for baseline, dashes in zip(evaluation.baselines, ("--", ":", "-."), strict=False):
            saved = baseline.decisions.saving_usd_per_1000
            axes.axhline(saved, color=GREY, linestyle=dashes, linewidth=1.2, label=baseline.name)
        axes.plot(
            [evaluation.threshold],
            [chosen],
            color=VERMILION,
            marker="D",
            markersize=8,
            linestyle="none",
            label=f"chosen threshold, {evaluation.threshold:.3g}",
        )
        axes.set(xlim=(0, 1), xlabel="Threshold: lowest probability with an offer", ylabel="Saved, $ per 1,000")
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.set_title("Savings relative to no offers")
        axes.grid(True, axis="y")
        axes.legend(loc="best")
    best = max(curve, key=lambda point: point.saving_usd_per_1000)
    alt = (
        f"US dollars saved per 1,000 customers by threshold: {chosen:,.0f} at the chosen {evaluation.threshold:.3g}; "
        f"the maximum on this test is {best.saving_usd_per_1000:,.0f}, at {best.threshold:.2f}."
    )
    return Plot("saving", alt, drawn.getvalue())


def importance_plot(ranked: Sequence[Importance]) -> Plot:
    """Draw the mean absolute contribution of each feature, the largest at the top."""
    names = [importance.feature for importance in ranked]
    with drawing("importance", 6.4, 1.2 + 0.27 * len(names)) as (axes, drawn):
        bars = axes.barh(names, [importance.mean_contribution for importance in ranked], color=BLUE, height=0.7)
        axes.bar_label(bars, fmt="%.2f", padding=3)
        axes.invert_yaxis()
        axes.margins(x=0.1, y=0.01)
        axes.set(xlabel="Mean absolute contribution, log-odds")
        axes.tick_params(axis="y", length=0)
        axes.set_title("Feature importance")
    alt = "Mean absolute contribution to the log-odds: " + ", ".join(
        f"{importance.feature} {importance.mean_contribution:.2f}" for importance in ranked
    )
    return Plot("importance", alt + ".", drawn.getvalue())


def _percent(axes: Axes) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda share, _: f"{share * 100:g}")
