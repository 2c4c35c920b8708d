"""Baselines: rules without a model, such as *offer to everybody*, that a model must beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from include.projects import Project
from include.projects.features import Aggregate
from include.projects.label import NoEventLabel
from include.projects.requirements import Costs
from include.training.data.rows import Rows
from include.training.evaluation.decisions import Decisions, decide, savings

NO_OFFERS = "offer to nobody"
_TO_EVERYBODY = "offer to everybody"
CONSTANT_RULES = (NO_OFFERS, _TO_EVERYBODY)
"""The rules with the same decision for all customers."""


@dataclass(frozen=True)
class BaselineOffers:
    """A baseline's offers.

    Attributes:
        name: The name of the rule.
        auc: The AUC of its ranking; 0.5 if it does not rank.
        offered: Which of n rows get an offer, shape (n,).
        ranks: The rank of each row, shape (n,): the higher, the riskier; None if the rule does not rank.
    """

    name: str
    auc: float
    offered: NDArray[np.bool_]
    ranks: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Baseline:
    """A baseline's metrics on the test set.

    Attributes:
        name: The name of the rule.
        auc: The AUC of its ranking; 0.5 if it does not rank.
        decisions: The metrics of its offers.
    """

    name: str
    auc: float
    decisions: Decisions


def baseline_offers(project: Project, train: Rows, test: Rows) -> tuple[BaselineOffers, ...]:
    """Return the offers of each baseline: to everybody and, if the project has a recency feature, by recency.

    The baseline without offers is left out, since all savings are relative to it.

    Args:
        project: The features and the costs.
        train: The training rows, on which the limit of the recency rule is chosen.
        test: The n test rows.
    """
    everybody = BaselineOffers(_TO_EVERYBODY, 0.5, np.ones(len(test), dtype=bool))
    feature = recency_feature(project)
    if feature is None:
        return (everybody,)
    limit = _best_limit(_recency(train, feature), train.churned, project.requirements.costs)
    recency = _recency(test, feature)
    # Ranks, since scikit-learn rejects the infinite recency of customers without events.
    ranks = np.unique(recency, return_inverse=True)[1].astype(np.float64)
    auc = float(roc_auc_score(test.churned, ranks))
    return everybody, BaselineOffers("offer by recency", auc, recency >= limit, ranks)


def baselines(project: Project, train: Rows, test: Rows) -> tuple[Baseline, ...]:
    """Return the metrics of each baseline on the test set; see ``baseline_offers``.

    Args:
        project: The features and the costs.
        train: The training rows.
        test: The test rows.
    """
    costs = project.requirements.costs
    return tuple(
        Baseline(chosen.name, chosen.auc, decide(test.churned, chosen.offered, costs))
        for chosen in baseline_offers(project, train, test)
    )


def recency_feature(project: Project) -> str | None:
    """Return the feature that counts the days since a customer's last event; None if there is none.

    With a ``no_event`` label, the feature must read the label's source. For other labels, it is the first such feature.
    """
    wanted = project.label.source if isinstance(project.label, NoEventLabel) else None
    for spec in project.features:
        match spec.calculation:
            case Aggregate(function="days_since_last", source=source, where=None) if wanted in (None, source):
                return spec.name
    return None


def _recency(rows: Rows, feature: str) -> NDArray[np.float64]:
    days = rows.features[feature].to_numpy().astype(np.float64)
    # Null means that the last event is before the feature's window.
    return np.where(np.isnan(days), np.inf, days)


def _best_limit(recency: NDArray[np.float64], churned: NDArray[np.int8], costs: Costs) -> float:
    limits = np.unique(recency)
    return float(max(limits, key=lambda limit: savings(churned, recency >= limit, costs).sum()))
