"""The model by segment of its customers: whom it ranks well, whom it misjudges, and where it saves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from include.projects import FeatureSpec, Project
from include.training.data.rows import Rows
from include.training.evaluation.decisions import decide
from include.training.model.contract import reaches_threshold
from include.training.model.explain import MISSING

ENOUGH_CUSTOMERS = 50
"""With fewer, a segment's figures are chance: its size alone is told."""


@dataclass(frozen=True)
class SegmentFigures:
    """What the model does in a segment that is large enough to be judged.

    Attributes:
        positive_ratio: Share of its rows that churned.
        mean_probability: What the model expected of them; on average right where it equals ``positive_ratio``.
        auc: How well it ranks them; ``None`` where all have the same label.
        offers_per_1000: Offers among 1,000 of them at the model's threshold.
        saving_usd_per_1000: US dollars saved on 1,000 of them against offering to nobody.
    """

    positive_ratio: float
    mean_probability: float
    auc: float | None
    offers_per_1000: float
    saving_usd_per_1000: float


@dataclass(frozen=True)
class Segment:
    """Test rows that are alike in one feature.

    Attributes:
        feature: The feature.
        value: What they have in common, for people.
        rows: How many there are.
        customers: Of how many customers.
        figures: ``None`` for fewer than ``ENOUGH_CUSTOMERS`` customers.
    """

    feature: str
    value: str
    rows: int
    customers: int
    figures: SegmentFigures | None


def judge_segments(
    project: Project, test: Rows, probabilities: NDArray[np.float32], threshold: float
) -> tuple[Segment, ...]:
    """Judge a model on every segment of the project's ``training.segments``.

    A category has a segment for each of its values, a number one for each quarter of the test rows; those without a
    value are one of their own.

    Args:
        project: Names the features, and gives the costs.
        test: The n test rows.
        probabilities: The model's churn probabilities for them, shape (n,).
        threshold: The probability from which the service answers ``churn``.
    """
    specs = {spec.name: spec for spec in project.features}

    def judged(feature: str, value: str, mask: NDArray[np.bool_]) -> Segment:
        customers = len(pc.unique(test.customers.filter(mask)))
        figures = None
        if customers >= ENOUGH_CUSTOMERS:
            churned, expected = test.churned[mask], probabilities[mask]
            decisions = decide(churned, reaches_threshold(expected, threshold), project.requirements.costs)
            figures = SegmentFigures(
                positive_ratio=float(churned.mean()),
                mean_probability=float(expected.mean()),
                auc=float(roc_auc_score(churned, expected)) if len(np.unique(churned)) > 1 else None,
                offers_per_1000=decisions.offers_per_1000,
                saving_usd_per_1000=decisions.saving_usd_per_1000,
            )
        return Segment(feature, value, int(mask.sum()), customers, figures)

    return tuple(
        judged(feature, value, mask)
        for feature in project.training.segments
        for value, mask in _masks(specs[feature], test)
        if mask.any()
    )


def _masks(spec: FeatureSpec, test: Rows) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    column = test.features[spec.name]
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
    # A number that many rows share is several quartiles at once.
    edges = np.unique(np.quantile(known, [0.25, 0.5, 0.75]))
    quarter = np.searchsorted(edges, numbers)
    texts = [f"{edge:,.4g}" for edge in edges]
    names = [f"up to {texts[0]}", *(f"above {texts[i]}, up to {texts[i + 1]}" for i in range(len(edges) - 1))]
    for position, name in enumerate([*names, f"above {texts[-1]}"]):
        yield name, (quarter == position) & ~np.isnan(numbers)
