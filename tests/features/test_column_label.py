"""The label of a table without time: the values that mean churned, not churned and unknown."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pytest

from include.days import DayRange
from include.features.labels import LabelError, build_labels
from include.lake import Lake
from include.lake.table_names import FEATURES_TABLE, LABELS_TABLE, SILVER_DAYS_TABLE, silver_table
from include.projects.label import ColumnLabel
from include.projects.project import Population
from tests.quality.shop import FIRST, REGIONS, project

DAYS = DayRange(FIRST, FIRST + dt.timedelta(days=1))


def labels(
    folder: Path, deliveries: list[list[str | None]], other_values: list[str] | None = None
) -> list[list[int | None]]:
    """Return the labels of the customers of each delivery; None for customers without a label."""
    label = ColumnLabel(
        description="", kind="column", source="regions", column="region", value="yes", other_values=other_values
    )
    source = REGIONS.model_copy(update={"customer": "customer_id"})
    made_of = project({"regions": source}).model_copy(
        update={"label": label, "features": [], "population": Population(source="regions")}
    )
    lake, days = Lake(str(folder)), list(DAYS)[: len(deliveries)]
    for day, values in zip(days, deliveries, strict=True):
        ids = [str(number) for number in range(len(values))]
        when = pa.array([day] * len(ids), pa.date32())
        found = pa.array(values, pa.string())
        lake.table(silver_table("regions")).replace([day], pa.table({"dt": when, "customer_id": ids, "region": found}))
        lake.table(FEATURES_TABLE).replace([day], pa.table({"dt": when, "customer_id": ids}))
        loaded = pa.table({"dt": pa.array([day], pa.date32()), "source": ["regions"]})
        lake.table(SILVER_DAYS_TABLE).replace([day], loaded)
    build_labels(made_of, lake, DayRange(days[0], days[-1]))
    rows = lake.table(LABELS_TABLE).read(days, None).to_pylist()
    by_row = {(row["dt"], row["customer_id"]): row["churned"] for row in rows}
    return [
        [by_row.get((day, str(number))) for number in range(len(values))]
        for day, values in zip(days, deliveries, strict=True)
    ]


def test_the_only_other_value_means_not_churned(tmp_path: Path) -> None:
    assert labels(tmp_path, [["yes", "no", None]]) == [[1, 0, None]]


def test_the_only_other_value_of_each_delivery_means_not_churned(tmp_path: Path) -> None:
    assert labels(tmp_path, [["yes", "no"], ["stays", "yes"]]) == [[1, 0], [0, 1]]


def test_only_named_values_mean_not_churned(tmp_path: Path) -> None:
    found = labels(tmp_path, [["yes", "no", "stays", "unknown", None]], ["no", "stays"])
    assert found == [[1, 0, 0, None, None]]


def test_several_other_values_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(
        LabelError, match=r"2 values other than 'yes' on 2024-01-01: 'no' \(2 rows\), 'maybe' \(1 row\).*other_values"
    ):
        labels(tmp_path, [["yes", "no", "maybe", "no"]])
    assert not Lake(str(tmp_path)).table(LABELS_TABLE).exists()


def test_value_that_never_occurs_is_an_error_unless_the_others_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        LabelError,
        match=r"'region' never has the value 'yes' on 2024-01-02; it has 'no' \(2 rows\)\..*value in label.*other_",
    ):
        labels(tmp_path / "a", [["yes", "no"], ["no", "no", None]])
    assert labels(tmp_path / "b", [["no", "no", None]], ["no"]) == [[0, 0, None]]
    assert labels(tmp_path / "c", [[None, None]]) == [[None, None]]
