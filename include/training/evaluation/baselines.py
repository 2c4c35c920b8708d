"""Ways to choose customers that need no model, and that a model has to beat."""

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


@dataclass(frozen=True)
class RuleOffers:
    """A rule and whom it chooses.

    Attributes:
        name: What the rule is, for people.
        auc: How well it ranks the rows; one half when it does not rank.
        offered: Who of n rows gets an offer, shape (n,).
    """

    name: str
    auc: float
    offered: NDArray[np.bool_]


@dataclass(frozen=True)
class Baseline:
    """A way to choose customers that needs no model.

    Attributes:
        name: What the rule is, for people.
        auc: How well it ranks; one half when it does not rank.
        decisions: What comes of it on the test.
    """

    name: str
    auc: float
    decisions: Decisions


def rule_offers(project: Project, train: Rows, test: Rows) -> tuple[RuleOffers, ...]:
    """Return whom each rule chooses among the n test rows; what a rule has to learn, it learns from ``train``.

    To offer to everybody, and to offer by recency where the project has such a feature. To offer to nobody is left out,
    since every figure in money is counted against it.
    """
    everybody = RuleOffers("offer to everybody", 0.5, np.ones(len(test), dtype=bool))
    feature = recency_feature(project)
    if feature is None:
        return (everybody,)
    limit = _best_limit(_recency(train, feature), train.churned, project.requirements.costs)
    recency = _recency(test, feature)
    # Ranks cope with the infinite recency of a customer who was never seen.
    ranks = np.unique(recency, return_inverse=True)[1]
    auc = float(roc_auc_score(test.churned, ranks))
    return everybody, RuleOffers("offer by recency", auc, recency >= limit)


def baselines(project: Project, train: Rows, test: Rows) -> tuple[Baseline, ...]:
    """Return the rules that a model has to beat, judged on ``test``; what they choose, they choose on ``train``."""
    costs = project.requirements.costs
    return tuple(
        Baseline(rule.name, rule.auc, decide(test.churned, rule.offered, costs))
        for rule in rule_offers(project, train, test)
    )


def recency_feature(project: Project) -> str | None:
    """Return the feature that counts the days since a customer's last event, if there is one.

    A label by absence asks for events of its own source; any other label takes the first source that has the feature.
    """
    wanted = project.label.source if isinstance(project.label, NoEventLabel) else None
    for spec in project.features:
        match spec.calculation:
            case Aggregate(function="days_since_last", source=source, where=None) if wanted in (None, source):
                return spec.name
    return None


def _recency(rows: Rows, feature: str) -> NDArray[np.float64]:
    days = rows.features[feature].to_numpy().astype(np.float64)
    # Absent means that the last event lies before the feature's window.
    return np.where(np.isnan(days), np.inf, days)


def _best_limit(recency: NDArray[np.float64], churned: NDArray[np.int8], costs: Costs) -> float:
    limits = np.unique(recency)
    return float(max(limits, key=lambda limit: savings(churned, recency >= limit, costs).sum()))
