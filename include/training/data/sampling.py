"""Samples of rows, where all would take too long: of customers for the search, and spread evenly over the test."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from include.training.data.rows import Rows


def spread_evenly(rows: int, wanted: int) -> NDArray[np.int64]:
    """Return the positions of ``wanted`` of so many rows, spread evenly from the first to the last; all of fewer.

    Examples:
        >>> spread_evenly(9, 3).tolist()
        [0, 4, 8]
    """
    return np.unique(np.linspace(0, rows - 1, wanted).astype(np.int64))


def sample_customers(rows: Rows, wanted: int | None, seed: int) -> Rows:
    """Return all rows of as many customers as have about ``wanted`` rows together, or ``rows`` if there are no more.

    Who is drawn depends on a hash of the customer and the seed, never on the order of the rows; with more rows of the
    same customers, the same customers are drawn first. A customer is drawn with every row or with none, so that the
    sample has the folds, and the repeated customers, of the whole.
    """
    if wanted is None or len(rows) <= wanted:
        return rows
    customers, customer_of_row = rows.by_customer()
    counts = np.bincount(customer_of_row)
    # The test of a data set without time is drawn by the same kind of hash: its own prefix keeps the draws apart.
    hashes = [hashlib.sha256(f"tuning:{seed}:{customer}".encode()).digest() for customer in customers]
    order = sorted(range(len(customers)), key=hashes.__getitem__)
    last = int(np.searchsorted(np.cumsum(counts[order]), wanted))
    drawn = np.zeros(len(customers), dtype=bool)
    drawn[order[: last + 1]] = True
    return rows.where(drawn[customer_of_row])
