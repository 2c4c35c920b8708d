"""Whether a model is good for a reason that production will not have: checks that come before any promotion.

A leak is a feature that knows the label, or that names the customer. The first kind predicts too well alone. The second
kind, and every leak from one row into another, is found by asking for less: of customers that the model has not seen,
and of days that lie further after those that it has learned from, an honest model knows about as much.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from sklearn.metrics import roc_auc_score
from sklearn.tree import DecisionTreeClassifier

from include.errors import ChurnflowError
from include.logs import get_logger
from include.projects.training import LeakageLimits, Training
from include.training.data.rows import Rows
from include.training.evaluation.bootstrap import CustomerBootstrap, lower_bound
from include.training.evaluation.importance import importances
from include.training.evaluation.ranking import WeightedRanking
from include.training.model.bundle import Bundle, margins
from include.training.refit import FitEach

log = get_logger(__name__)

LEAKAGE_FILE = "leakage.json"

_TREE_ROWS = 20_000
_TREE_LEAVES = 16
_LEAF_ROWS = 20
_TOP_FEATURES = 10
_SUSPECTS = 5


class LeakageError(ChurnflowError):
    """A leak is suspected in a model, or nobody has looked for one."""


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FeatureAuc(_Frozen):
    """How well one feature alone ranks the test rows."""

    feature: str
    auc: float


class StricterSplit(_Frozen):
    """What is left of the AUC when the model has to know more by itself.

    Attributes:
        name: ``unseen_customers``: a model of half of the customers is asked about the other half.
            ``earlier_training``: the training ends one horizon earlier.
        auc: The AUC in the ordinary split: about the half that was learned from, or after training that ends as usual.
        stricter_auc: The AUC in the stricter one, about the same test rows.
        drop_low: The drop that 95 % of the resamples of customers reach, so that chance on few customers is no finding.
    """

    name: Literal["unseen_customers", "earlier_training"]
    auc: float
    stricter_auc: float
    drop_low: float

    @property
    def drop(self) -> float:
        """How much the AUC falls."""
        return self.auc - self.stricter_auc


class LeakageReport(_Frozen):
    """What the checks found.

    Attributes:
        findings: What looks like a leak, in words; none in a clean model.
        limits: What the project allows.
        features: The features that rank best alone, the best first.
        splits: The stricter splits that were made.
        skipped: Why others were not.
    """

    findings: tuple[str, ...]
    limits: LeakageLimits
    features: tuple[FeatureAuc, ...]
    splits: tuple[StricterSplit, ...]
    skipped: tuple[str, ...]


def check_leakage(
    train: Rows,
    test: Rows,
    bundle: Bundle,
    probabilities: NDArray[np.float32],
    training: Training,
    horizon_days: int,
    fit_each: FitEach,
) -> LeakageReport:
    """Check a model's features and its score; raises nothing, since the finding belongs into the run's record.

    Args:
        train: The training rows.
        test: The n test rows.
        bundle: The model.
        probabilities: The model's answers for the test rows, shape (n,).
        training: Limits, resamples and seed.
        horizon_days: How far the label looks ahead; none where the data has no time.
        fit_each: Fits a model with the chosen hyperparameters on each of some parts of the training rows.
    """
    limits = training.leakage
    features = _single_features(train, test, bundle.contract.feature_names, training.seed)
    made = (
        _unseen_customers(train, test, training, horizon_days, fit_each),
        _earlier_training(train, test, probabilities, training, horizon_days, fit_each),
    )
    splits = [split for split in made if isinstance(split, StricterSplit)]
    fallen = [split for split in splits if split.drop_low > limits.max_auc_drop]
    report = LeakageReport(
        findings=(*_feature_findings(features, limits), *_split_findings(fallen, limits, bundle, test)),
        limits=limits,
        features=tuple(features[:_TOP_FEATURES]),
        splits=tuple(splits),
        skipped=tuple(reason for reason in made if isinstance(reason, str)),
    )
    for finding in report.findings:
        log.warning("leakage suspected", extra={"finding": finding})
    return report


def require_no_leakage(document: bytes | None, model: str) -> None:
    """Refuse a model whose run does not say that it is clean.

    Args:
        document: What its run keeps as ``leakage.json``; ``None`` when it keeps none.
        model: Names the model, for people.

    Raises:
        LeakageError: There is no readable report, or it has findings; the message names them.
    """
    try:
        report = LeakageReport.model_validate_json(document or b"")
    except ValidationError as error:
        raise LeakageError(
            f"The run has no readable {LEAKAGE_FILE}, so nobody has looked for leaks.",
            where=model,
            remedy="Train the model again with this version of the code.",
        ) from error
    if report.findings:
        raise LeakageError(
            f"A leak is suspected: {' '.join(report.findings)}",
            where=model,
            remedy="Look among these features for one that knows the label or names the customer, correct or remove it "
            "in features.yaml, and train again; limits are in training.yaml.",
        )


def _single_features(train: Rows, test: Rows, names: list[str], seed: int) -> list[FeatureAuc]:
    """Return how well each feature alone ranks the test rows, the best first.

    A small tree of its own makes a feature into a score: it finds either direction, the middle of a range, categories,
    and missing values that say something. It learns from training rows, so that it cannot fit the test.
    """
    random = np.random.default_rng(seed)
    sample = random.permutation(len(train))[:_TREE_ROWS]
    churned = train.churned[sample]
    aucs = []
    for position, name in enumerate(names):
        tree = DecisionTreeClassifier(max_leaf_nodes=_TREE_LEAVES, min_samples_leaf=_LEAF_ROWS, random_state=seed)
        tree.fit(train.matrix[sample, position, None], churned)
        scores = tree.predict_proba(test.matrix[:, position, None])[:, -1]
        aucs.append(FeatureAuc(feature=name, auc=float(roc_auc_score(test.churned, scores))))
    return sorted(aucs, key=lambda found: -found.auc)


def _unseen_customers(
    train: Rows, test: Rows, training: Training, horizon_days: int, fit_each: FitEach
) -> StricterSplit | str:
    """Fit one model on each half of the customers, and compare what they say about their own half and the other one.

    Every test row has an answer from a model that has seen its customer and one from a model that has not, so that the
    same customers are on both sides.
    """
    if not horizon_days:
        return "unseen_customers: the test is of customers that the model has not seen already"
    first, in_first = _first_half(train), _first_half(test)
    if any(len(np.unique(train.churned[half])) < 2 for half in (first, ~first)):
        return "unseen_customers: half of the customers have one label only"
    of_first, of_second = (margins(booster, test.matrix) for booster in fit_each([first, ~first]))
    seen, unseen = np.where(in_first, of_first, of_second), np.where(in_first, of_second, of_first)
    return _compare("unseen_customers", test, seen, unseen, training)


def _earlier_training(
    train: Rows,
    test: Rows,
    probabilities: NDArray[np.float32],
    training: Training,
    horizon_days: int,
    fit_each: FitEach,
) -> StricterSplit | str:
    """Compare the model with one whose training ends a horizon earlier.

    With less than half of the rows left, a drop would say that there are few of them.
    """
    if not horizon_days:
        return "earlier_training: this data has no time"
    earlier = np.asarray(train.days <= train.days.max() - np.timedelta64(horizon_days, "D"))
    if earlier.sum() * 2 < len(train) or len(np.unique(train.churned[earlier])) < 2:
        return "earlier_training: less than half of the training rows would be left"
    (booster,) = fit_each([earlier])
    return _compare("earlier_training", test, probabilities, margins(booster, test.matrix), training)


def _compare(
    name: Literal["unseen_customers", "earlier_training"],
    test: Rows,
    usual: NDArray[np.float32],
    stricter: NDArray[np.float32],
    training: Training,
) -> StricterSplit:
    aucs = [float(roc_auc_score(test.churned, scores)) for scores in (usual, stricter)]
    rankings = [WeightedRanking(test.churned, scores.astype(np.float64)) for scores in (usual, stricter)]
    bootstrap = CustomerBootstrap(test.customers, training.resamples, training.seed)
    resampled = np.array(
        [[ranking.auc_and_average_precision(weights)[0] for ranking in rankings] for weights in bootstrap.weights()]
    )
    low = lower_bound(resampled[:, 0] - resampled[:, 1])
    return StricterSplit(name=name, auc=aucs[0], stricter_auc=aucs[1], drop_low=low)


def _first_half(rows: Rows) -> NDArray[np.bool_]:
    """Return which rows belong to the half of the customers that a hash of their id draws."""
    customers, customer_of_row = rows.by_customer()
    halves = [hashlib.sha256(str(customer).encode()).digest()[0] < 128 for customer in customers]
    drawn: NDArray[np.bool_] = np.array(halves, dtype=bool)[customer_of_row]
    return drawn


def _feature_findings(features: Sequence[FeatureAuc], limits: LeakageLimits) -> list[str]:
    return [
        f"The feature {found.feature} alone has an AUC of {found.auc:.3f}; more than {limits.max_single_feature_auc:g} "
        "is not believed."
        for found in features
        if found.auc > limits.max_single_feature_auc
    ]


def _split_findings(fallen: Sequence[StricterSplit], limits: LeakageLimits, bundle: Bundle, test: Rows) -> list[str]:
    """Say how far the AUC fell, and where to look: it accuses no feature, but a leak that counts is listened to."""
    if not fallen:
        return []
    asked = {
        "unseen_customers": "about customers whom the model has not seen",
        "earlier_training": "when training ends one horizon earlier",
    }
    suspects = ", ".join(found.feature for found in importances(bundle, test.matrix)[:_SUSPECTS])
    return [
        f"The AUC falls from {split.auc:.3f} to {split.stricter_auc:.3f} {asked[split.name]}; the drop is at least "
        f"{split.drop_low:.3f} (95 % bound), and {limits.max_auc_drop:g} is allowed. The model listens most to "
        f"{suspects}."
        for split in fallen
    ]
