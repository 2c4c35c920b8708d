"""Metrics by segment."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from include.projects import Project
from include.projects.references import check_references
from include.training.card.results import segments as segments_section
from include.training.data.rows import Rows
from include.training.evaluation.segments import Segment, evaluate_segments
from include.training.model.explain import MISSING
from tests.training.gold import small_project

ROWS = 400


@pytest.fixture(scope="module")
def project() -> Project:
    return small_project(segments=("age", "days_since_purchase"))


def rows_of(ages: list[str | None], days: NDArray[np.float64], churned: NDArray[np.int8]) -> Rows:
    features = pa.table({"age": pa.array(ages, pa.string()), "days_since_purchase": pa.array(days, from_pandas=True)})
    customers = pa.chunked_array([[f"c{i}" for i in range(len(ages))]])
    snapshots = np.full(len(ages), dt.date(2017, 9, 3), dtype="datetime64[D]")
    return Rows(snapshots, customers, features, np.empty((len(ages), 0), np.float32), churned)


@pytest.fixture(scope="module")
def test_rows() -> Rows:
    rng = np.random.default_rng(5)
    ages: list[str | None] = [[None, "19-24", "45-54"][i % 3] for i in range(ROWS)]
    days = np.where(rng.random(ROWS) < 0.25, np.nan, rng.integers(0, 80, ROWS))
    churned = (rng.random(ROWS) < 0.3).astype(np.int8)
    # No customer of this age churned.
    churned[np.array(ages, dtype=object) == "19-24"] = 0
    return rows_of(ages, days, churned)


@pytest.fixture(scope="module")
def probabilities() -> NDArray[np.float32]:
    return np.random.default_rng(6).random(ROWS).astype(np.float32)


@pytest.fixture(scope="module")
def segments(project: Project, test_rows: Rows, probabilities: NDArray[np.float32]) -> dict[tuple[str, str], Segment]:
    evaluated = evaluate_segments(project, test_rows, probabilities, threshold=0.1)
    return {(segment.feature, segment.value): segment for segment in evaluated}


def test_segments_partition_the_rows(segments: dict[tuple[str, str], Segment]) -> None:
    for feature in ("age", "days_since_purchase"):
        assert sum(segment.rows for (name, _), segment in segments.items() if name == feature) == ROWS


def test_category_has_a_segment_per_value_and_for_missing(segments: dict[tuple[str, str], Segment]) -> None:
    assert [value for feature, value in segments if feature == "age"] == ["19-24", "45-54", MISSING]


def test_number_is_cut_into_quarters(segments: dict[tuple[str, str], Segment], test_rows: Rows) -> None:
    quarters = [segment for (feature, _), segment in segments.items() if feature == "days_since_purchase"]
    assert quarters[-1].value == MISSING
    assert [quarter.value.split()[0] for quarter in quarters[:-1]] == ["up", "above", "above", "above"]
    known = ROWS - quarters[-1].rows
    assert all(abs(quarter.rows - known / 4) < 0.05 * known for quarter in quarters[:-1])
    first = float(quarters[0].value.removeprefix("up to "))
    days = test_rows.features["days_since_purchase"].to_numpy()
    assert quarters[0].rows == np.sum(days <= first)


def test_metrics_are_computed_on_the_segment(
    segments: dict[tuple[str, str], Segment], test_rows: Rows, probabilities: NDArray[np.float32]
) -> None:
    mask = np.array(test_rows.features["age"].to_pylist(), dtype=object) == "45-54"
    metrics = segments["age", "45-54"].metrics
    assert metrics is not None
    assert metrics.positive_ratio == pytest.approx(test_rows.churned[mask].mean())
    assert metrics.mean_probability == pytest.approx(probabilities[mask].mean())
    assert metrics.auc == pytest.approx(roc_auc_score(test_rows.churned[mask], probabilities[mask]))
    offered = probabilities[mask] >= 0.1
    kept = (
        np.sum(offered & (test_rows.churned[mask] == 1)) * 500 - np.sum(offered & (test_rows.churned[mask] == 0)) * 50
    )
    assert metrics.saving_usd_per_1000 == pytest.approx(kept / mask.sum() * 1000)
    assert metrics.offers_per_1000 == pytest.approx(offered.mean() * 1000)


def test_segment_with_one_label_has_no_auc(segments: dict[tuple[str, str], Segment]) -> None:
    metrics = segments["age", "19-24"].metrics
    assert metrics is not None
    assert (metrics.auc, metrics.positive_ratio) == (None, 0.0)


def test_small_segment_has_no_metrics(project: Project) -> None:
    rows = 209
    many = rows_of(
        ["19-24"] * 100 + ["45-54"] * 60 + ["65+"] * 49, np.arange(float(rows)), np.arange(rows, dtype=np.int8) % 2
    )
    evaluated = evaluate_segments(project, many, np.full(rows, 0.5, np.float32), 0.1)
    by_value = {segment.value: segment for segment in evaluated if segment.feature == "age"}
    assert by_value["19-24"].metrics is not None
    assert (by_value["65+"].rows, by_value["65+"].customers, by_value["65+"].metrics) == (49, 49, None)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([0.0] * 300 + list(range(1, 101)), {"0": 300, "above 0": 100}),
        ([0.0] * 100 + [7.0] * 300, {"up to 0": 100, "7": 300}),
        ([0.0] * 100 + [7.0] * 200 + [9.0] * 100, {"up to 0": 100, "7": 200, "above 7": 100}),
        ([3.0] * 80 + [7.0] * 240 + [9.0] * 80, {"below 7": 80, "7": 240, "above 7": 80}),
        ([7.0] * 400, {}),
        ([7.0] * 380 + [9.0] * 20, {}),
    ],
)
def test_frequent_number_is_a_segment(project: Project, numbers: list[float], expected: dict[str, int]) -> None:
    ages: list[str | None] = ["19-24"] * 200 + ["65+"] * 200
    rows = rows_of(ages, np.array(numbers), np.arange(400, dtype=np.int8) % 2)
    evaluated = evaluate_segments(project, rows, np.full(400, 0.5, np.float32), 0.1)
    found = {one.value: one.rows for one in evaluated if one.feature == "days_since_purchase"}
    assert found == expected
    left_out = segments_section(evaluated, project.training.segments, {"age": "Age", "days_since_purchase": "Days"})
    assert bool(left_out.items) is not bool(expected)


def test_duplicate_segment_is_reported() -> None:
    problems = list(check_references(small_project(segments=("age", "age"))))
    assert [problem[:2] for problem in problems] == [(("training", "segments"), "names feature 'age' twice")]
