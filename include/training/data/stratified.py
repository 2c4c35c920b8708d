"""Splits of customers where there is no time: with equal shares of churners, by a hash of who they are.

A customer's place depends on their id, the seed and the label, never on the order of the rows. A later delivery of the
same table therefore puts the same customers into the test, save a few at the edge, and a champion is judged on
customers that it has not learned from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from include.errors import ChurnflowError


class TooFewCustomersError(ChurnflowError):
    """There are not enough churners, or customers who stay, for a split."""


def stratified_test(customers: Sequence[str], churned: NDArray[np.int8], share: float, seed: int) -> NDArray[np.bool_]:
    """Return which of n customers are the test: ``share`` of the churners, and of those who stay.

    Args:
        customers: Their ids, each once.
        churned: Their labels, shape (n,).
        share: The share, in 0..1.
        seed: Another seed draws another test.

    Raises:
        TooFewCustomersError: One of the labels has fewer than two customers.
    """
    _require(churned, 2, "a test and something to learn from", "Deliver more customers")
    chosen = np.zeros(len(churned), dtype=bool)
    order = _hash_order(customers, seed)
    for label in (0, 1):
        members = order[churned[order] == label]
        wanted = min(max(1, round(len(members) * share)), len(members) - 1)
        chosen[members[:wanted]] = True
    return chosen


def stratified_folds(
    customers: Sequence[str], churned: NDArray[np.int8], folds: int, seed: int
) -> list[NDArray[np.bool_]]:
    """Return for each of ``folds`` folds which of n customers it validates on; it learns from all others.

    Raises:
        TooFewCustomersError: One of the labels has fewer customers than there are folds.
    """
    from sklearn.model_selection import StratifiedKFold  # seconds to import, and most read a data set without folds

    _require(
        churned, folds, f"{folds} folds", "Deliver more customers, or lower cv_folds in the project's training.yaml"
    )
    order = _hash_order(customers, seed)
    masks = []
    for _, held_out in StratifiedKFold(folds).split(order, churned[order]):
        mask = np.zeros(len(churned), dtype=bool)
        mask[order[held_out]] = True
        masks.append(mask)
    return masks


def _hash_order(customers: Sequence[str], seed: int) -> NDArray[np.int64]:
    hashes = [hashlib.sha256(f"{seed}:{customer}".encode()).digest() for customer in customers]
    return np.array(sorted(range(len(hashes)), key=hashes.__getitem__), dtype=np.int64)


def _require(churned: NDArray[np.int8], least: int, purpose: str, remedy: str) -> None:
    churners = int(churned.sum())
    if min(churners, len(churned) - churners) < least:
        raise TooFewCustomersError(
            f"{churners} churners and {len(churned) - churners} who stay are too few for {purpose}.",
            where="training data set",
            remedy=f"{remedy}, and check that label.yaml names the value that means churn.",
        )
