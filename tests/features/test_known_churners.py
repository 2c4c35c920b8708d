"""The customers who are known to have churned as of a day, for each kind of label."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from include.features.known_churners import known_churners
from include.lake import Lake, connect
from include.lake.table_names import LABELS_TABLE, silver_table
from include.monitoring.performance import read_labels
from include.projects import Project, Source
from include.projects.label import BecomesLabel, ColumnLabel, NoEventLabel
from tests.quality.shop import CUSTOMERS, ORDERS, REGIONS, day, project

CONTRACTS = CUSTOMERS.model_copy(
    update={"key": ["contract_id"], "columns": {"contract_id": CUSTOMERS.columns["customer_id"], **CUSTOMERS.columns}}
)
FLAT = REGIONS.model_copy(update={"customer": "customer_id"})
BECOMES = BecomesLabel(
    description="", kind="becomes", source="customers", column="status", value="left", horizon_days=30
)


def column_label(other_values: list[str] | None) -> ColumnLabel:
    return ColumnLabel(
        description="", kind="column", source="customers", column="region", value="yes", other_values=other_values
    )


def shop(source: Source, label: Any) -> Project:
    return project({"customers": source}).model_copy(update={"label": label})


def deliver(lake: Lake, number: int, rows: list[dict[str, Any]]) -> None:
    """Write the silver rows that are delivered on day ``number``; a row of changes has ``changed`` as a day number."""
    for row in rows:
        if "changed" in row:
            row["changed"] = dt.datetime.combine(day(row["changed"]), dt.time(9))
    table = pa.Table.from_pylist([{"dt": day(number), **row} for row in rows])
    lake.table(silver_table("customers")).replace([day(number)], table)


def known(lake: Lake, made_of: Project, *numbers: int) -> set[tuple[int, str]]:
    found = known_churners(made_of, lake, connect(), [day(number) for number in numbers])
    assert found is not None
    return {((row["dt"] - day(0)).days, row["customer_id"]) for row in found.to_pyarrow().to_pylist()}


def test_becomes_uses_the_current_row_as_of_each_day(tmp_path: Path) -> None:
    lake, made_of = Lake(str(tmp_path)), shop(CUSTOMERS, BECOMES)
    deliver(lake, 0, [{"customer_id": name, "status": "active", "changed": 0} for name in "abcd"])
    deliver(
        lake,
        2,
        [
            {"customer_id": "a", "status": "left", "changed": 2},
            {"customer_id": "b", "status": None, "changed": 2},
            # The notice takes effect later, but the label is already known.
            {"customer_id": "c", "status": "left", "changed": 9},
        ],
    )
    deliver(lake, 4, [{"customer_id": "a", "status": "active", "changed": 4}])
    assert known(lake, made_of, 1, 2, 3, 4) == {(2, "a"), (2, "c"), (3, "a"), (3, "c"), (4, "c")}


def test_customer_with_another_contract_may_still_churn(tmp_path: Path) -> None:
    lake, made_of = Lake(str(tmp_path)), shop(CONTRACTS, BECOMES)
    rows = [("1", "a", "left"), ("2", "a", "active"), ("3", "b", "left"), ("4", "b", "left")]
    names = ("contract_id", "customer_id", "status")
    deliver(lake, 0, [dict(zip(names, row, strict=True)) | {"changed": 0} for row in rows])
    assert known(lake, made_of, 0) == {(0, "b")}


def test_change_within_the_horizon_decides_the_label(tmp_path: Path) -> None:
    lake, made_of = Lake(str(tmp_path)), shop(CONTRACTS, BECOMES)
    names = ("contract_id", "customer_id", "status", "changed")
    changes = [
        *[("1", "a", "active", 0), ("2", "a", "active", 0), ("1", "a", "left", 9)],
        *[("3", "b", "active", 0), ("4", "b", "active", 0), ("3", "b", "left", 90)],
        *[("5", "c", "active", 0), ("5", "c", "left", 9), ("5", "c", "active", 20)],
        *[("6", "d", "left", 0), ("6", "d", "active", 1)],
    ]
    deliver(lake, 2, [dict(zip(names, row, strict=True)) for row in changes])
    deliver(lake, 9, [dict(zip(names, ("7", "d", "active", 9), strict=True))])
    assert known(lake, made_of, 2, 8, 9) == {(2, "a"), (2, "c"), (8, "a"), (8, "c")}
    assert known(lake, made_of, 60) == {(60, "b")}


@pytest.mark.parametrize("other_values", [None, ["no"]])
def test_only_churned_rows_of_a_flat_table_are_known(tmp_path: Path, other_values: list[str] | None) -> None:
    lake, made_of = Lake(str(tmp_path)), shop(FLAT, column_label(other_values))
    regions = {"a": "yes", "b": "no", "c": None, "d": "paused"}
    deliver(lake, 0, [{"customer_id": name, "region": region} for name, region in regions.items()])
    # A later delivery replaces the earlier one; a customer whom it lacks is not known any more.
    deliver(lake, 3, [{"customer_id": "b", "region": "yes"}])
    assert known(lake, made_of, 0, 2, 3) == {(0, "a"), (2, "a"), (3, "b")}


def test_no_customer_is_known_without_deliveries_or_with_a_label_of_events(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    flat = shop(FLAT, column_label(None))
    assert known_churners(flat, lake, connect(), [day(0)]) is None
    deliver(lake, 5, [{"customer_id": "a", "region": "yes"}])
    assert known_churners(flat, lake, connect(), [day(4)]) is None
    label = NoEventLabel(description="", kind="no_event", source="orders", horizon_days=30)
    events = project({"orders": ORDERS}).model_copy(update={"label": label})
    assert known_churners(events, lake, connect(), [day(5)]) is None


def test_labels_of_known_churners_are_left_out_of_the_performance(tmp_path: Path) -> None:
    lake, made_of = Lake(str(tmp_path)), shop(CUSTOMERS, BECOMES)
    statuses = {"a": "left", "b": "active"}
    deliver(lake, 0, [{"customer_id": name, "status": status, "changed": 0} for name, status in statuses.items()])
    labels = pa.table({"dt": [day(0)] * 2, "customer_id": ["a", "b"], "churned": pa.array([0, 1], pa.int8())})
    lake.table(LABELS_TABLE).replace([day(0)], labels)
    assert read_labels(lake, made_of, [day(0)])[["customer_id", "churned"]].values.tolist() == [["b", 1]]
