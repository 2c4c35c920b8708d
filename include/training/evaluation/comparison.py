"""Compare models and rules on the same rows and the same bootstrap draws, so that chance in the draws affects all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from include.projects import Project
from include.training.data.rows import Rows
from include.training.evaluation.baselines import NO_OFFERS, BaselineOffers, baseline_offers
from include.training.evaluation.bootstrap import CustomerBootstrap, lower_bound
from include.training.evaluation.conditions import Decision, Gain, RankingGain, decide_first_promotion
from include.training.evaluation.decisions import savings
from include.training.evaluation.measure import resampled_auc
from include.training.model.contract import reaches_threshold


@dataclass(frozen=True)
class Scores:
    """The scores of a model or a rule on some rows.

    Attributes:
        name: The name of the model or rule.
        auc: The AUC of its ranking.
        saving_usd_per_1000: US dollars saved per 1,000 customers, relative to no offers.
    """

    name: str
    auc: float
    saving_usd_per_1000: float


@dataclass(frozen=True)
class Contender:
    """A model or a rule on n rows.

    Attributes:
        scores: Its scores.
        savings: The US dollars that each row saves, shape (n,).
        ranks: The rank of each row, shape (n,): the higher, the riskier; None if the rule does not rank.
    """

    scores: Scores
    savings: NDArray[np.float64]
    ranks: NDArray[np.float64] | None


def model_contender(project: Project, rows: Rows, name: str, probabilities: NDArray[np.floating]) -> Contender:
    """Return a model as a contender.

    Args:
        project: The costs.
        rows: The n rows, with both labels.
        name: The name of the model.
        probabilities: Its churn probabilities, shape (n,).
    """
    ranks = probabilities.astype(np.float64)
    offered = reaches_threshold(ranks, project.requirements.costs.threshold)
    return _contender(project, rows, BaselineOffers(name, float(roc_auc_score(rows.churned, ranks)), offered, ranks))


def rule_contenders(project: Project, train: Rows, test: Rows) -> list[Contender]:
    """Return the rules without a model, among them no offers.

    Args:
        project: The features and the costs.
        train: The training rows, on which the limit of the recency rule is chosen.
        test: The test rows.
    """
    no_offers = BaselineOffers(NO_OFFERS, 0.5, np.zeros(len(test), dtype=bool))
    return [_contender(project, test, rule) for rule in (no_offers, *baseline_offers(project, train, test))]


def best_rule(rules: Iterable[Contender]) -> Contender:
    """Return the rule that saves most."""
    return max(rules, key=lambda rule: rule.scores.saving_usd_per_1000)


def first_decision(project: Project, rows: Rows, model: Contender, rules: list[Contender]) -> Decision:
    """Decide whether a model becomes the first champion; see ``decide_first_promotion``.

    Args:
        project: The margin, and the seed and number of the resamples.
        rows: The test rows.
        model: The model.
        rules: The rules without a model.
    """
    promotion = project.training.promotion
    confidence = promotion.first_confidence
    best_ranking = max(rules, key=lambda rule: rule.scores.auc)
    return decide_first_promotion(
        ranking_gain(project, rows, model, best_ranking, confidence),
        [gain(project, rows, model, rule, confidence) for rule in rules],
        promotion.first_margin_usd_per_1000,
    )


def gain(project: Project, rows: Rows, model: Contender, other: Contender, confidence: float) -> Gain:
    """Return the difference between the savings of a model and of another contender.

    Args:
        project: The seed and number of the resamples.
        rows: The rows of both contenders.
        model: The model.
        other: The other contender.
        confidence: The confidence of each bound.
    """
    difference = (model.savings - other.savings) * 1000
    resampled = _bootstrap(project, rows).means(difference)
    low, high = lower_bound(resampled, confidence), -lower_bound(-resampled, confidence)
    return Gain(other.scores.name, float(difference.mean()), low, high, confidence)


def ranking_gain(project: Project, rows: Rows, model: Contender, other: Contender, confidence: float) -> RankingGain:
    """Return the difference between the AUC of a model and of another contender.

    Args:
        project: The seed and number of the resamples.
        rows: The rows of both contenders.
        model: The model.
        other: The other contender.
        confidence: The confidence of the bound.
    """
    bootstrap = _bootstrap(project, rows)

    def resampled(ranks: NDArray[np.float64] | None) -> NDArray[np.float64]:
        if ranks is None:
            return np.full(bootstrap.resamples, 0.5)
        return resampled_auc(bootstrap, rows.churned, ranks)

    low = lower_bound(resampled(model.ranks) - resampled(other.ranks), confidence)
    return RankingGain(other.scores.name, model.scores.auc, other.scores.auc, low, confidence)


def _bootstrap(project: Project, rows: Rows) -> CustomerBootstrap:
    return CustomerBootstrap(rows.customers, project.training.resamples, project.training.seed)


def _contender(project: Project, rows: Rows, offers: BaselineOffers) -> Contender:
    saved = savings(rows.churned, offers.offered, project.requirements.costs)
    return Contender(Scores(offers.name, offers.auc, float(saved.mean() * 1000)), saved, offers.ranks)
