"""Judge probabilities on the test: as a ranking, as probabilities, as decisions, and in money.

Money is counted against offering to nobody: a churner who gets an offer saves what missing that churner would have
cost, and an offer to anybody else costs what a needless offer costs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    precision_recall_fscore_support,
    roc_auc_score,
)

from include.errors import ChurnflowError
from include.projects import Project
from include.projects.features import Aggregate
from include.projects.model import Costs, NoEventLabel
from include.training.rows import Rows

HALF = 0.5


class EvaluationError(ChurnflowError):
    """The test rows cannot judge a model."""


@dataclass(frozen=True)
class Decisions:
    """What comes of offering to some of the customers.

    Attributes:
        accuracy: Share of customers decided rightly.
        precision: Share of offers that reach a churner.
        recall: Share of churners who get an offer.
        f1: Harmonic mean of precision and recall.
        offers_per_1000: Offers among 1,000 customers.
        saving_usd_per_1000: US dollars saved on 1,000 customers against offering to nobody.
    """

    accuracy: float
    precision: float
    recall: float
    f1: float
    offers_per_1000: float
    saving_usd_per_1000: float


@dataclass(frozen=True)
class SimpleRule:
    """A way to choose customers that needs no model.

    Attributes:
        name: What the rule is, for people.
        auc: How well it ranks; one half when it does not rank.
        decisions: What comes of it on the test.
    """

    name: str
    auc: float
    decisions: Decisions


@dataclass(frozen=True)
class Evaluation:
    """A model's figures on the test.

    Attributes:
        rows: Test rows.
        positive_ratio: Share of them that churned.
        auc: Area under the ROC curve.
        pr_auc: Average precision.
        brier: Mean squared error of the probabilities.
        at_half: Decisions at a probability of 0.5.
        at_threshold: Decisions at ``threshold``; these are the ones that the service makes.
        threshold: The probability from which the service answers ``churn``.
        rules: What needs no model: to offer to everybody, and the recency rule where the project has such a feature.
    """

    rows: int
    positive_ratio: float
    auc: float
    pr_auc: float
    brier: float
    at_half: Decisions
    at_threshold: Decisions
    threshold: float
    rules: tuple[SimpleRule, ...]

    @property
    def best_rule(self) -> SimpleRule:
        """The rule that saves most; to offer to nobody, which saves nothing, is one of them."""
        nobody = SimpleRule("offer to nobody", 0.5, Decisions(1 - self.positive_ratio, 0, 0, 0, 0, 0))
        return max((nobody, *self.rules), key=lambda rule: rule.decisions.saving_usd_per_1000)

    def metrics(self) -> dict[str, float]:
        """Return all figures under flat names; the decisions at 0.5 carry the plain names."""
        flat = {"auc": self.auc, "pr_auc": self.pr_auc, "brier": self.brier, "positive_ratio": self.positive_ratio}
        flat |= asdict(self.at_half)
        flat |= {f"{name}_at_threshold": value for name, value in asdict(self.at_threshold).items()}
        for rule in self.rules:
            short = rule.name.split()[-1]
            flat |= {f"auc_{short}": rule.auc, f"saving_usd_per_1000_{short}": rule.decisions.saving_usd_per_1000}
        return flat


def evaluate(
    project: Project, train: Rows, test: Rows, probabilities: NDArray[np.float32], threshold: float
) -> Evaluation:
    """Judge a model by its probabilities for the test rows.

    Args:
        project: Gives the costs and the recency feature.
        train: The training rows; the recency rule's limit is chosen on them alone.
        test: The n test rows.
        probabilities: The model's churn probabilities for them, shape (n,).
        threshold: The probability from which the service answers ``churn``.

    Raises:
        EvaluationError: All test rows have the same label.
    """
    if len(np.unique(test.churned)) < 2:
        raise EvaluationError(
            "The test rows all have the same label.",
            where="test part of the training data set",
            remedy="Make the test larger in the project's training.yaml, or ingest more customers.",
        )
    costs = project.requirements.costs
    return Evaluation(
        rows=len(test),
        positive_ratio=float(test.churned.mean()),
        auc=float(roc_auc_score(test.churned, probabilities)),
        pr_auc=float(average_precision_score(test.churned, probabilities)),
        brier=float(brier_score_loss(test.churned, probabilities)),
        at_half=decide(test.churned, probabilities >= HALF, costs),
        at_threshold=decide(test.churned, probabilities >= threshold, costs),
        threshold=threshold,
        rules=simple_rules(project, train, test),
    )


def decide(churned: NDArray[np.int8], offered: NDArray[np.bool_], costs: Costs) -> Decisions:
    """Return what comes of the offers ``offered`` to customers of whom ``churned`` leave; both of shape (n,)."""
    precision, recall, f1, _ = precision_recall_fscore_support(churned, offered, average="binary", zero_division=0)
    return Decisions(
        accuracy=float((churned == offered).mean()),
        precision=float(precision),
        recall=float(recall),
        f1=float(f1),
        offers_per_1000=float(offered.mean() * 1000),
        saving_usd_per_1000=_saving(churned, offered, costs),
    )


def simple_rules(project: Project, train: Rows, test: Rows) -> tuple[SimpleRule, ...]:
    """Return the rules that a model has to beat, judged on ``test``; what they choose, they choose on ``train``."""
    costs = project.requirements.costs
    everybody = SimpleRule("offer to everybody", 0.5, decide(test.churned, np.ones(len(test), dtype=bool), costs))
    feature = recency_feature(project)
    if feature is None:
        return (everybody,)
    limit = _best_limit(_recency(train, feature), train.churned, costs)
    recency = _recency(test, feature)
    # Ranks cope with the infinite recency of a customer who was never seen.
    ranks = np.unique(recency, return_inverse=True)[1]
    auc = float(roc_auc_score(test.churned, ranks))
    return everybody, SimpleRule("offer by recency", auc, decide(test.churned, recency >= limit, costs))


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
    return float(max(limits, key=lambda limit: _saving(churned, recency >= limit, costs)))


def _saving(churned: NDArray[np.int8], offered: NDArray[np.bool_], costs: Costs) -> float:
    kept = np.sum(offered & (churned == 1)) * costs.missed_churner_usd
    wasted = np.sum(offered & (churned == 0)) * costs.needless_offer_usd
    return float((kept - wasted) / len(churned) * 1000)
