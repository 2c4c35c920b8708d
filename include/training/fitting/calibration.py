"""Calibrate a model: compare calibrators by forward validation on out-of-fold log-odds, and fit the best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from include.logs import get_logger
from include.training.data.rows import Rows, RowSplit
from include.training.fitting.curves import fit_curve
from include.training.model.calibrator import Calibrator, Method

log = get_logger(__name__)

Window = Literal["all", "latest"]

_CURVES: tuple[Method, ...] = ("none", "logistic", "beta", "isotonic")
"""The methods for a model that ranks the customers, the simplest first."""
_MIN_CHURNERS = 2_000
_MAX_DEVIATION = 0.2


@dataclass(frozen=True)
class CalibrationScore:
    """A method and a window of rows, and their scores on the blocks of the forward validation.

    Attributes:
        method: The method.
        window: The rows that the curve is fitted on: ``all``, or the ``latest`` days with 2,000 churners.
        calibrator: The curve that is fitted on all training rows of the window.
        log_loss: The mean log loss.
        brier: The mean squared error of the probabilities.
    """

    method: Method
    window: Window
    calibrator: Calibrator
    log_loss: float
    brier: float

    @property
    def name(self) -> str:
        """The method and the rows, as text."""
        rows = "all rows" if self.window == "all" else "the latest rows"
        return self.method.replace("_", " ") + ("" if self.method == "none" else f", {rows}")

    def as_dict(self) -> dict[str, Any]:
        """Return the scores and the calibrator as plain JSON types."""
        return asdict(self) | {"calibrator": self.calibrator.model_dump(mode="json")}


@dataclass(frozen=True)
class BlockChurn:
    """The churn on one block of the forward validation.

    Attributes:
        name: The days of the block, or the number of the fold if the data has no time.
        rows: Number of rows.
        observed: The share of rows that churned.
        expected: The mean probability of the chosen calibrator, fitted on rows whose labels were known before.
        is_expected: Whether the observed churn is within 20 % of the expected churn, plus two standard errors.
    """

    name: str
    rows: int
    observed: float
    expected: float
    is_expected: bool


@dataclass(frozen=True)
class Calibration:
    """The calibrator of a model, and how it was chosen.

    Attributes:
        chosen: The calibrator, with its method, window and scores.
        scores: All methods and windows that were compared, the lowest log loss first.
        blocks: The churn on each block of the forward validation.
        warning: The reason why the probabilities are not reliable; empty if they are.
        out_of_fold: The calibrated probabilities of the n training rows, each by a booster that was not fitted on the
            row's customer, shape (n,).
    """

    chosen: CalibrationScore
    scores: tuple[CalibrationScore, ...]
    blocks: tuple[BlockChurn, ...]
    warning: str
    out_of_fold: NDArray[np.float32]

    @property
    def calibrator(self) -> Calibrator:
        """The chosen calibrator."""
        return self.chosen.calibrator

    def as_dict(self) -> dict[str, Any]:
        """Return the calibration as plain JSON types."""
        return {
            "chosen": self.chosen.as_dict(),
            "scores": [score.as_dict() for score in self.scores],
            "blocks": [asdict(block) for block in self.blocks],
            "warning": self.warning,
        }


def choose_calibrator(log_odds: NDArray[np.float32], rows: Rows, blocks: Sequence[RowSplit]) -> Calibration:
    """Choose a calibrator by forward validation, fit it, and log a warning if the probabilities may be wrong.

    A candidate is a method and a window. For each block, every candidate is fitted on the rows whose labels are known
    before the block, and is scored on the block. Of the candidates whose mean log loss is within one standard error of
    the lowest, the first in this order is chosen: ``none``, logistic, beta, isotonic; each on all rows, then on the
    latest rows. The standard error of the difference in log loss is computed over customers and over blocks; the larger
    of the two is used.

    If the log-odds do not rise with churn on all rows, the model has no skill. The candidates are then the base rates
    of the windows, and the result has a warning.

    Args:
        log_odds: The out-of-fold log-odds of n rows, shape (n,).
        rows: The n rows.
        blocks: The tuning folds. With time, the training rows of a fold are those whose labels are known before its
            validation rows; without time, they are those of other customers.
    """
    has_skill = fit_curve("logistic", log_odds, rows.churned) is not None
    methods: tuple[Method, ...] = _CURVES if has_skill else ("base_rate",)
    found = (_validate(method, window, log_odds, rows, blocks) for method, window in _candidates(methods, rows))
    candidates = [candidate for candidate in found if candidate is not None]
    best = min(candidates, key=lambda candidate: candidate.score.log_loss)
    customers = rows.by_customer()[1]
    chosen = next(candidate for candidate in candidates if _is_within_noise(candidate, best, customers))
    churn = tuple(_block_churn(chosen, rows, block, customers) for block in blocks)
    warning = _warning(has_skill, churn)
    extra = {"calibrator": chosen.score.name, "log_loss": round(chosen.score.log_loss, 5)}
    log.info("calibrated", extra=extra)
    if warning:
        log.warning("the probabilities may be wrong", extra=extra | {"reason": warning})
    return Calibration(
        chosen=chosen.score,
        scores=tuple(sorted((candidate.score for candidate in candidates), key=lambda score: score.log_loss)),
        blocks=churn,
        warning=warning,
        out_of_fold=chosen.score.calibrator.probabilities(log_odds),
    )


@dataclass(frozen=True)
class _Candidate:
    """A calibrator and its results in the forward validation.

    Attributes:
        score: The calibrator and its scores.
        scored: The rows of the blocks, a mask of shape (n,).
        losses: The log loss of each row, shape (n,); only valid for scored rows.
        probabilities: The probability of each row, shape (n,); only valid for scored rows.
        block_losses: The mean log loss of each block.
    """

    score: CalibrationScore
    scored: NDArray[np.bool_]
    losses: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    block_losses: NDArray[np.float64]


def _candidates(methods: Sequence[Method], rows: Rows) -> Iterator[tuple[Method, Window]]:
    everything = np.ones(len(rows), dtype=bool)
    has_latest = not _window("latest", rows, everything).all()
    for method in methods:
        yield method, "all"
        if has_latest and method != "none":
            yield method, "latest"


def _window(window: Window, rows: Rows, known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which of the rows in ``known`` belong to a window, shape (n,)."""
    if window == "all":
        return known
    days, position = np.unique(rows.days[known], return_inverse=True)
    later = np.cumsum(np.bincount(position, rows.churned[known])[::-1])[::-1]
    # The first day from which on there are enough churners; the first of all days if there are too few.
    enough = np.flatnonzero(later >= _MIN_CHURNERS)
    first = days[enough[-1] if len(enough) else 0]
    latest: NDArray[np.bool_] = known & (rows.days >= first)
    return latest


def _validate(
    method: Method, window: Window, log_odds: NDArray[np.float32], rows: Rows, blocks: Sequence[RowSplit]
) -> _Candidate | None:
    """Fit and score a candidate; None if no rising curve fits all rows, or the rows before one of the blocks."""

    def fitted(known: NDArray[np.bool_]) -> Calibrator | None:
        used = _window(window, rows, known)
        return fit_curve(method, log_odds[used], rows.churned[used])

    calibrator = fitted(np.ones(len(rows), dtype=bool))
    if calibrator is None:
        return None
    calibrated, scored = np.zeros(len(rows)), np.zeros(len(rows), dtype=bool)
    for block in blocks:
        before = fitted(block.train)
        if before is None:
            return None
        calibrated[block.valid] = before.log_odds(log_odds[block.valid])
        scored |= block.valid
    losses = np.logaddexp(0.0, calibrated) - rows.churned * calibrated
    probabilities = expit(calibrated)
    score = CalibrationScore(
        method=method,
        window=window,
        calibrator=calibrator,
        log_loss=float(losses[scored].mean()),
        brier=float(((probabilities - rows.churned)[scored] ** 2).mean()),
    )
    block_losses = np.array([losses[block.valid].mean() for block in blocks])
    return _Candidate(score, scored, losses, probabilities, block_losses)


def _is_within_noise(candidate: _Candidate, best: _Candidate, customers: NDArray[np.int64]) -> bool:
    """Return whether the log loss of a candidate is at most one standard error higher than the lowest."""
    difference = (candidate.losses - best.losses)[best.scored]
    mean = float(difference.mean())
    by_customer = np.bincount(customers[best.scored], difference - mean)
    customer_error = float(np.sqrt((by_customer**2).sum())) / len(difference)
    by_block = candidate.block_losses - best.block_losses
    block_error = float(by_block.std(ddof=1) / np.sqrt(len(by_block)))
    return mean <= max(customer_error, block_error)


def _block_churn(chosen: _Candidate, rows: Rows, block: RowSplit, customers: NDArray[np.int64]) -> BlockChurn:
    churned = rows.churned[block.valid]
    observed, expected = float(churned.mean()), float(chosen.probabilities[block.valid].mean())
    days = rows.days[block.valid]
    churners = len(np.unique(customers[block.valid][churned == 1]))
    # The number of churned customers has a standard error of at most its square root.
    allowed = _MAX_DEVIATION + 2 / np.sqrt(max(churners, 1))
    return BlockChurn(
        name=f"{days.min()} to {days.max()}" if days.min() < days.max() else block.name,
        rows=len(churned),
        observed=observed,
        expected=expected,
        is_expected=bool(abs(observed / expected - 1) <= allowed),
    )


def _warning(has_skill: bool, blocks: Sequence[BlockChurn]) -> str:
    if not has_skill:
        return (
            "The model has no skill: on customers that were left out of the fit, those with higher predictions did not "
            "churn more. It predicts the base rate for every customer, and is not promoted."
        )
    unexpected = [block for block in blocks if not block.is_expected]
    if not unexpected:
        return ""
    found = "; ".join(f"{block.observed:.1%} instead of {block.expected:.1%} on {block.name}" for block in unexpected)
    return (
        f"The share of churners changes so much that no calibrator is reliable. The best calibrator, fitted on earlier "
        f"labels, was wrong by more than {_MAX_DEVIATION:.0%} on {len(unexpected)} of {len(blocks)} periods: {found}. "
        "The probabilities and the number of offers may have errors of this size in later periods."
    )
