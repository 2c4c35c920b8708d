"""The model card: what a model is, how it was made, how good it is, and what it is not fit for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from include.reporting import Page
from include.training.candidate import Candidate
from include.training.card import limits, origin, results
from include.training.evaluation.importance import importances
from include.training.evaluation.segments import judge_segments
from include.training.model.bundle import Bundle
from include.training.requirements import Verdict


@dataclass(frozen=True)
class ModelCard:
    """A card in its forms.

    Attributes:
        markdown: All of it, with the plots by their paths.
        html: All of it, as one file.
        plots: The drawings as SVG, by their paths from the card.
        summary: A few lines of Markdown.
    """

    markdown: str
    html: str
    plots: dict[str, str]
    summary: str


def make_model_card(candidate: Candidate, bundle: Bundle, version: str, verdicts: Sequence[Verdict]) -> ModelCard:
    """Return the card of ``bundle``, which was made of ``candidate``.

    Args:
        candidate: Gives the data, the search and the figures.
        bundle: The model with its run.
        version: Its version in the registry.
        verdicts: What the project's requirements say.
    """
    project, contract, evaluation = candidate.project, bundle.contract, candidate.evaluation
    judged = judge_segments(project, candidate.test, candidate.probabilities, contract.threshold)
    page = Page(
        title=f"Model card: churn-{contract.project}, version {version}",
        lead=" ".join(project.description.split()),
        sections=[
            origin.question(candidate, contract, version),
            results.figures(evaluation),
            results.money(evaluation, project.requirements.costs),
            results.thresholds(evaluation),
            results.calibration(evaluation),
            results.ranking(evaluation),
            results.segments(judged, {spec.name: spec.description for spec in project.features}),
            results.features(importances(bundle, candidate.test.matrix)),
            limits.requirements(verdicts),
            limits.leakage(candidate.leakage),
            limits.limits(candidate),
            origin.data(candidate),
            origin.training(candidate, contract),
            limits.rollback(),
        ],
    )
    return ModelCard(
        markdown=page.markdown(),
        html=page.html(),
        plots={plot.path: plot.svg for section in page.sections for plot in section.plots},
        summary=_summary(candidate, bundle, verdicts),
    )


def _summary(candidate: Candidate, bundle: Bundle, verdicts: Sequence[Verdict]) -> str:
    evaluation, contract = candidate.evaluation, bundle.contract
    auc, saving = evaluation.intervals["auc"], evaluation.intervals["saving_usd_per_1000_at_threshold"]
    missed = [verdict.name for verdict in verdicts if not verdict.ok]
    test = candidate.dataset.manifest.test
    return (
        f"Learned from snapshots through {contract.trained_through}; judged on {evaluation.rows:,} rows of "
        f"{test.days[0]} to {test.days[-1]}.\n\n"
        f"- AUC {evaluation.auc:.3f} ({auc.low:.3f} to {auc.high:.3f})\n"
        f"- saves ${evaluation.at_threshold.saving_usd_per_1000:,.0f} per 1,000 customers "
        f"({saving.low:,.0f} to {saving.high:,.0f}) with offers from a probability of {contract.threshold:.3g}\n"
        f"- the best rule without a model ({evaluation.best_rule.name}) saves "
        f"${evaluation.best_rule.decisions.saving_usd_per_1000:,.0f}\n"
        f"- requirements missed: {', '.join(missed) or 'none'}\n\n"
        f"The whole model card is the run's artifact `model_card.html`.\n"
    )
