"""The model's metrics by segment of the customers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from include.projects import FeatureSpec, Project
from include.training.data.rows import Rows
from include.training.evaluation.decisions import decide
from include.training.model.contract import reaches_threshold
from include.training.model.explain import MISSING

ENOUGH_CUSTOMERS = 50
"""With fewer customers, a segment's metrics are mostly noise, and only its size is reported."""
_FEWEST_SEGMENTS = 2


@dataclass(frozen=True)
class SegmentMetrics:
    """The model's metrics in a segment.

    Attributes:
        positive_ratio: Share of the rows that churned.
        mean_probability: Mean predicted probability; equal to ``positive_ratio`` if the model is calibrated.
        auc: Area under the ROC curve; None if all rows have the same label.
        offers_per_1000: Offers per 1,000 rows at the model's threshold.
        saving_usd_per_1000: US dollars saved per 1,000 rows, relative to no offers.
    """

    positive_ratio: float
    mean_probability: float
    auc: float | None
    offers_per_1000: float
    saving_usd_per_1000: float


@dataclass(frozen=True)
class Segment:
    """Test rows with similar values of one feature.

    Attributes:
        feature: The feature.
        value: The common value or range, as text.
        rows: Number of rows.
        customers: Number of customers.
        metrics: None for fewer than ``ENOUGH_CUSTOMERS`` customers.
    """

    feature: str
    value: str
    rows: int
    customers: int
    metrics: SegmentMetrics | None


def evaluate_segments(
    project: Project, test: Rows, probabilities: NDArray[np.float32], threshold: float
) -> tuple[Segment, ...]:
    """Evaluate a model on every segment of the project's ``training.segments``.

    A category has a segment for each value, and a number has a segment for each quarter of the test rows. A number that
    many customers have is a segment of its own. Rows without a value are a segment, too. A feature is left out if
    fewer than two of its segments have ``ENOUGH_CUSTOMERS`` customers: a single segment would have nearly all of them.

    Args:
        project: The segment features and the costs.
        test: The n test rows.
        probabilities: The model's churn probabilities for the test rows, shape (n,).
        threshold: The lowest probability that the service predicts as ``churn``.
    """
    specs = {spec.name: spec for spec in project.features}

    def segment(feature: str, value: str, mask: NDArray[np.bool_]) -> Segment:
        customers = len(pc.unique(test.customers.filter(mask)))
        metrics = None
        if customers >= ENOUGH_CUSTOMERS:
            churned, expected = test.churned[mask], probabilities[mask]
            decisions = decide(churned, reaches_threshold(expected, threshold), project.requirements.costs)
            metrics = SegmentMetrics(
                positive_ratio=float(churned.mean()),
                mean_probability=float(expected.mean()),
                auc=float(roc_auc_score(churned, expected)) if len(np.unique(churned)) > 1 else None,
                offers_per_1000=decisions.offers_per_1000,
                saving_usd_per_1000=decisions.saving_usd_per_1000,
            )
        return Segment(feature, value, int(mask.sum()), customers, metrics)

    found: list[Segment] = []
    for feature in project.training.segments:
        members = [
            segment(feature, value, mask)
            for value, mask in segment_masks(specs[feature], test.features[feature])
            if mask.any()
        ]
        if sum(member.metrics is not None for member in members) >= _FEWEST_SEGMENTS:
            found += members
    return tuple(found)


def segment_masks(spec: FeatureSpec, column: pa.ChunkedArray) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield the common value or range of each segment of n rows, as text, and a mask of its rows, shape (n,).

    Args:
        spec: The feature that cuts the rows into segments.
        column: Its values, n rows.
    """
    if spec.dtype == "category":
        texts = np.array(column.to_pylist(), dtype=object)
        yield from ((category, texts == category) for category in spec.categories)
        yield MISSING, texts == None  # noqa: E711 - elementwise
        return
    numbers = column.to_numpy().astype(np.float64)
    yield from _quarters(numbers)
    yield MISSING, np.isnan(numbers)


def _quarters(numbers: NDArray[np.float64]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    known = numbers[~np.isnan(numbers)]
    if not len(known):
        return
    quartiles, times = np.unique(np.quantile(known, [0.25, 0.5, 0.75], method="lower"), return_counts=True)
    # A bound is a number, and whether the number belongs to the segment below. A frequent number equals several
    # quartiles, and has a bound on each side.
    bounds = [
        (float(edge), included)
        for edge, count in zip(quartiles, times, strict=True)
        for included in ((False, True) if count > 1 else (True,))
    ]
    part = sum((numbers > edge if included else numbers >= edge).astype(int) for edge, included in bounds)
    for position in range(len(bounds) + 1):
        yield _range(bounds, position), (part == position) & ~np.isnan(numbers)


def _range(bounds: Sequence[tuple[float, bool]], position: int) -> str:
    """Return the text of the segment between two neighbouring bounds."""
    ends = []
    if position > 0:
        edge, included = bounds[position - 1]
        if position < len(bounds) and bounds[position][0] == edge:
            return f"{edge:,.4g}"
        ends.append(f"{'above' if included else 'from'} {edge:,.4g}")
    if position < len(bounds):
        edge, included = bounds[position]
        ends.append(f"{'up to' if included else 'below'} {edge:,.4g}")
    return ", ".join(ends)
