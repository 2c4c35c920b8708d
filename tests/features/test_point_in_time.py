"""A feature row does not depend on events that happened or were delivered after its day."""

import datetime as dt
import re

import pytest

from include.features.compile import compute_features
from include.features.point_in_time import source_rows
from include.lake import connect
from tests.features.histories import SNAPSHOTS, agrees
from tests.features.language import MemoryLake, project

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("day", SNAPSHOTS[2:3], ids=str)
def test_features_do_not_depend_on_later_data(day, rows, features):
    past = {name: [row for row in some if row["dt"] <= day] for name, some in rows.items()}
    alone = compute_features(project(), MemoryLake(past), [day]).to_pylist()
    together = [row for row in features.to_pylist() if row["dt"] == day]
    assert len(alone) == len(together)
    for one, other in zip(alone, together, strict=True):
        assert all(agrees(one[name], other[name]) for name in one)


def test_a_lookup_does_not_multiply_days_by_reference_rows(tmp_path):
    days = [dt.date(2024, 1, 1) + dt.timedelta(days=number) for number in range(200)]
    products = [{"dt": days[0], "product": str(number), "department": str(number % 5)} for number in range(500)]
    payments = [
        {"dt": day, "payment": str(number), "person": "a", "product": str(number)}
        for day in days
        for number in range(50)
    ]
    engine = connect()
    lake = MemoryLake({"payments": payments, "products": products})
    found = source_rows(project(), "payments", lake, engine, days, ["department"])
    departments = found.select("department").filter(found["department"].notnull()).distinct()
    profile = tmp_path / "profile.json"
    engine.raw_sql("PRAGMA enable_profiling='json'")
    engine.raw_sql(f"SET profiling_output='{profile}'")
    assert engine.to_pyarrow(departments).num_rows == 5
    rows = [int(rows) for rows in re.findall(r'"intermediate_rows": *(\d+)', profile.read_text())]
    assert max(rows) == len(payments)
