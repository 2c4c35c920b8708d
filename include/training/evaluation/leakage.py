"""Leakage checks: does the model use information that is not available in production?

A feature can leak the label, or identify the customer. A feature that leaks the label predicts too well alone. A
feature that identifies the customer, and any leak between rows, is detected with stricter splits: without leakage, the
AUC is about the same on unseen customers, and with a training that ends earlier.
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
from include.training.evaluation.measure import resampled_auc
from include.training.fitting.booster import FitParts
from include.training.model.bundle import Bundle, margins

log = get_logger(__name__)

LEAKAGE_FILE = "leakage.json"

_TREE_ROWS = 20_000
_TREE_LEAVES = 16
_LEAF_ROWS = 20
_TOP_FEATURES = 10
_NAMED_FEATURES = 5


class LeakageError(ChurnflowError):
    """A model has leakage findings, or was not checked."""


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FeatureAuc(_Frozen):
    """The AUC of one feature alone on the test rows."""

    feature: str
    auc: float


class StricterSplit(_Frozen):
    """The AUC with a stricter split of training and test.

    Attributes:
        name: ``unseen_customers``: a model trained on half of the customers scores the other half.
            ``earlier_training``: the training ends one horizon earlier.
        auc: The AUC of models that were trained on the customers that they score, or of a model that was trained on
            all training days.
        stricter_auc: The AUC in the stricter split, on the same test rows.
        drop_low: The 95 % lower bound of the drop, by bootstrap over customers.
    """

    name: Literal["unseen_customers", "earlier_training"]
    auc: float
    stricter_auc: float
    drop_low: float

    @property
    def drop(self) -> float:
        """The decrease of the AUC."""
        return self.auc - self.stricter_auc


class LeakageReport(_Frozen):
    """The result of the leakage checks.

    Attributes:
        findings: The findings as text; empty for a model without findings.
        limits: The project's limits.
        features: The features with the highest AUC alone, the highest first.
        splits: The stricter splits that were evaluated.
        skipped: The stricter splits that were skipped, each with the reason.
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
    training: Training,
    horizon_days: int,
    fit_parts: FitParts,
) -> LeakageReport:
    """Check a model for leakage. Findings are returned, not raised, so that the run records them.

    Args:
        train: The training rows.
        test: The test rows.
        bundle: The model.
        training: Limits, resamples and seed.
        horizon_days: Days that the label covers; 0 if the data has no time.
        fit_parts: Fits boosters with the chosen hyperparameters and equal weights on parts of the training rows.
    """
    limits = training.leakage
    features = _single_features(train, test, bundle.contract.feature_names, training.seed)
    made = (
        _unseen_customers(train, test, training, horizon_days, fit_parts),
        _earlier_training(train, test, training, horizon_days, fit_parts),
    )
    splits = [split for split in made if isinstance(split, StricterSplit)]
    exceeded = [split for split in splits if split.drop_low > limits.max_auc_drop]
    report = LeakageReport(
        findings=(*_feature_findings(features, limits), *_split_findings(exceeded, limits, bundle, test)),
        limits=limits,
        features=tuple(features[:_TOP_FEATURES]),
        splits=tuple(splits),
        skipped=tuple(reason for reason in made if isinstance(reason, str)),
    )
    for finding in report.findings:
        log.warning("leakage finding", extra={"finding": finding})
    return report


def require_no_leakage(document: bytes | None, model: str) -> None:
    """Check that a model's run has a leakage report without findings.

    Args:
        document: The run's ``leakage.json``; None if the run has none.
        model: The model's name, for the message.

    Raises:
        LeakageError: There is no readable report, or it has findings; the message contains them.
    """
    try:
        report = LeakageReport.model_validate_json(document or b"")
    except ValidationError as error:
        raise LeakageError(
            f"The run has no readable {LEAKAGE_FILE}: the model was not checked for leakage.",
            where=model,
            remedy="Train the model again with this version of the code.",
        ) from error
    if report.findings:
        raise LeakageError(
            f"The model may have a leak: {' '.join(report.findings)}",
            where=model,
            remedy="Find the feature among these that leaks the label or identifies the customer, correct or remove it "
            "in features.yaml, and train again; the limits are in training.yaml.",
        )


def _single_features(train: Rows, test: Rows, names: list[str], seed: int) -> list[FeatureAuc]:
    """Return the AUC of each feature alone on the test rows, the highest first.

    A small decision tree turns each feature into a score. A tree can use both directions, ranges, categories and
    missing values. It is fitted on training rows, not on the test rows that it scores.
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
    train: Rows, test: Rows, training: Training, horizon_days: int, fit_parts: FitParts
) -> StricterSplit | str:
    """Fit one model on each half of the customers, and compare their AUC on seen and unseen customers.

    Both models score every test row. One of them was trained on the row's customer, the other was not. Both AUCs are
    therefore computed on the same rows.
    """
    if not horizon_days:
        return "unseen_customers: all test customers are unseen"
    first, in_first = _first_half(train), _first_half(test)
    if any(len(np.unique(train.churned[half])) < 2 for half in (first, ~first)):
        return "unseen_customers: one half of the customers has one label only"
    first_scores, second_scores = (margins(fitted.booster, test.matrix) for fitted in fit_parts([first, ~first]))
    seen, unseen = np.where(in_first, first_scores, second_scores), np.where(in_first, second_scores, first_scores)
    return _compare("unseen_customers", test, seen, unseen, training)


def _earlier_training(
    train: Rows, test: Rows, training: Training, horizon_days: int, fit_parts: FitParts
) -> StricterSplit | str:
    """Compare a model that is trained on all training days with a model on the days up to one horizon earlier.

    Both have equal weights. With a short half-life, the model on all days would have learned a change of the customers'
    behaviour that the earlier model cannot know, and the drop would look like a leak.

    The check is skipped if less than half of the training rows would be left: with so few rows, a lower AUC would not
    be a sign of leakage.
    """
    if not horizon_days:
        return "earlier_training: this data has no time"
    earlier = np.asarray(train.days <= train.days.max() - np.timedelta64(horizon_days, "D"))
    if earlier.sum() * 2 < len(train) or len(np.unique(train.churned[earlier])) < 2:
        return "earlier_training: less than half of the training rows would be left"
    usual, stricter = (margins(fitted.booster, test.matrix) for fitted in fit_parts([np.ones_like(earlier), earlier]))
    return _compare("earlier_training", test, usual, stricter, training)


def _compare(
    name: Literal["unseen_customers", "earlier_training"],
    test: Rows,
    usual: NDArray[np.float32],
    stricter: NDArray[np.float32],
    training: Training,
) -> StricterSplit:
    aucs = [float(roc_auc_score(test.churned, scores)) for scores in (usual, stricter)]
    bootstrap = CustomerBootstrap(test.customers, training.resamples, training.seed)
    resampled = [resampled_auc(bootstrap, test.churned, scores) for scores in (usual, stricter)]
    low = lower_bound(resampled[0] - resampled[1])
    return StricterSplit(name=name, auc=aucs[0], stricter_auc=aucs[1], drop_low=low)


def _first_half(rows: Rows) -> NDArray[np.bool_]:
    """Return a mask of the rows of half of the customers, who are drawn by a hash of their id."""
    customers, customer_of_row = rows.by_customer()
    halves = [hashlib.sha256(str(customer).encode()).digest()[0] < 128 for customer in customers]
    drawn: NDArray[np.bool_] = np.array(halves, dtype=bool)[customer_of_row]
    return drawn


def _feature_findings(features: Sequence[FeatureAuc], limits: LeakageLimits) -> list[str]:
    return [
        f"The feature {found.feature} alone has an AUC of {found.auc:.3f}; the limit is "
        f"{limits.max_single_feature_auc:g}."
        for found in features
        if found.auc > limits.max_single_feature_auc
    ]


def _split_findings(exceeded: Sequence[StricterSplit], limits: LeakageLimits, bundle: Bundle, test: Rows) -> list[str]:
    """Return the findings of the stricter splits, with the most important features.

    A stricter split does not identify the leaking feature, but a feature that leaks much is one of the most important.
    """
    if not exceeded:
        return []
    condition = {
        "unseen_customers": "on customers that the model has not seen",
        "earlier_training": "if the training ends one horizon earlier",
    }
    important = ", ".join(found.feature for found in importances(bundle, test.matrix)[:_NAMED_FEATURES])
    return [
        f"The AUC falls from {split.auc:.3f} to {split.stricter_auc:.3f} {condition[split.name]}; the drop is at least "
        f"{split.drop_low:.3f} (95 % bound), and the limit is {limits.max_auc_drop:g}. The most important "
        f"features are {important}."
        for split in exceeded
    ]
