"""Gold and labels do not depend on the order, parallelism or repetition of ingests."""

import datetime as dt
import shutil
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from include.days import DayRange
from include.features.gold import build_gold, built_days
from include.features.labels import build_labels
from include.lake import Lake
from include.lake.table_names import FEATURES_TABLE, LABELS_TABLE, SILVER_DAYS_TABLE, silver_table
from tests.features.language import attribute, project, schema_of

pytestmark = pytest.mark.slow

FIRST = dt.date(2024, 1, 1)
LAST = 8
# All features are nullable, so that no expectation is evaluated; Great Expectations would take most of the time.
FEATURES = [
    ("mean_7d", {"function": "mean", "source": "payments", "column": "amount"}, [7]),
    ("last_4d", {"function": "days_since_last", "source": "payments"}, [4]),
    ("seats", attribute("plans", "seats"), None),
]


def business(population: dict | None = None, **more):
    families = [
        {"name": name, "description": "", "type": "aggregation" if windows else "derived", "calculation": calculation}
        | ({"windows": windows} if windows else {})
        for name, calculation, windows in FEATURES
    ]
    label = {"kind": "no_event", "description": "", "source": "payments", "horizon_days": 3}
    population = population or {"source": "payments", "active_within_days": 5}
    return project(population, label, feature_families=families, **more)


def day_at(offset: int) -> dt.date:
    return FIRST + dt.timedelta(days=offset)


def payments(offset: int, version: int = 0) -> list[dict]:
    rng = np.random.default_rng([offset, version])
    people = [person for person in "abcdef" if rng.random() < 0.4] if offset != 5 else []
    at = dt.datetime.combine(day_at(offset), dt.time(9))
    return [
        {
            "person": person,
            "amount": Decimal(int(rng.integers(1, 99))),
            "paid_at": at - dt.timedelta(days=2 * int(late)),
        }
        for person, late in zip(people, rng.random(len(people)) < 0.3, strict=True)
    ]


def plans(offset: int) -> list[dict]:
    at = dt.datetime.combine(day_at(offset), dt.time(8))
    people = "abcdef" if offset == 0 else "abcdef"[offset % 6]
    return [{"person": person, "seats": offset, "changed_at": at} for person in people]


def write_silver(lake: Lake, offset: int, version: int = 0) -> None:
    day = day_at(offset)
    for name, rows in {"payments": payments(offset, version), "plans": plans(offset)}.items():
        table = pa.Table.from_pylist([row | {"dt": day} for row in rows], schema=schema_of(name))
        lake.table(silver_table(name)).replace([day], table)
    if offset == 0:
        lake.table("silver/products").replace([day], pa.Table.from_pylist([{"dt": day}], schema=schema_of("products")))
    lake.table(SILVER_DAYS_TABLE).replace([day], pa.table({"dt": [day] * 2, "source": ["payments", "plans"]}))


def run(lake: Lake, offset: int, reports, version: int = 0, **more):
    """Run the steps of a one-day ingest that follow the checks of silver."""
    days = DayRange.single(day_at(offset))
    write_silver(lake, offset, version)
    result = build_gold(business(**more), lake, days, reports)
    build_labels(business(**more), lake, days)
    return result


def tables(lake: Lake) -> dict[str, list[dict]]:
    everything = DayRange(FIRST, day_at(LAST))
    rows = {name: lake.table(name).read(everything).to_pylist() for name in (FEATURES_TABLE, LABELS_TABLE)}
    return {name: sorted(some, key=lambda row: (row["dt"], row["customer_id"])) for name, some in rows.items()}


@pytest.fixture(scope="module")
def in_order(tmp_path_factory) -> Lake:
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    for offset in range(LAST + 1):
        run(lake, offset, tmp_path_factory.mktemp("reports"))
    return lake


@pytest.fixture
def copy(in_order, tmp_path) -> Lake:
    return Lake(shutil.copytree(in_order.uri, tmp_path / "copy").as_posix())


def test_every_day_has_features_and_matured_days_have_labels(in_order):
    found = tables(in_order)
    assert {row["dt"] for row in found[LABELS_TABLE]} == {day_at(offset) for offset in range(LAST - 3 + 1)}
    assert {row["dt"] for row in found[FEATURES_TABLE]} == {day_at(offset) for offset in range(LAST + 1)}


@pytest.mark.parametrize("parallel", [1, 4])
def test_order_and_parallelism_do_not_change_the_tables(in_order, tmp_path, parallel):
    lake = Lake(str(tmp_path / "lake"))
    run(lake, 0, tmp_path)
    others = np.random.default_rng(parallel).permutation(range(1, LAST + 1)).tolist()
    with ThreadPoolExecutor(parallel) as pool:
        list(pool.map(lambda offset: run(lake, offset, tmp_path), others))
    assert tables(lake) == tables(in_order)


def test_redelivered_day_rebuilds_later_days(in_order, copy, tmp_path):
    corrected = Lake(str(tmp_path / "corrected"))
    for offset in range(LAST + 1):
        run(corrected, offset, tmp_path, version=1 if offset == 4 else 0)
    assert tables(in_order) != tables(corrected)
    run(copy, 4, tmp_path, version=1)
    assert tables(copy) == tables(corrected)


def test_counts_stale_days_beyond_lateness(in_order, copy, tmp_path):
    result = run(copy, 2, tmp_path, version=1, lateness_days=3)
    before, after = tables(in_order)[FEATURES_TABLE], tables(copy)[FEATURES_TABLE]
    changed = {row["dt"] for row in before if row not in after} | {row["dt"] for row in after if row not in before}
    assert changed
    assert changed <= {day_at(offset) for offset in (2, 3, 4, 5)}
    assert result.detail["gold_days"] == 4
    assert result.detail["stale_days"] == LAST - 5  # the plans of a day are valid until they change


def test_records_days_without_customers(tmp_path):
    lake = Lake(str(tmp_path / "lake"))
    empty = business(population={"source": "payments", "active_within_days": 1})
    write_silver(lake, 0)
    write_silver(lake, 5)
    build_gold(empty, lake, DayRange.single(day_at(5)), tmp_path)
    assert lake.table(FEATURES_TABLE).days() == []
    assert built_days(lake) == {day_at(5)}


@pytest.mark.parametrize(("delivered_after", "churned"), [(5, 0), (6, 1)])
def test_event_delivered_within_lateness_changes_the_label(tmp_path, delivered_after, churned):
    """With a horizon of 3 days and a lateness of 2 days, deliveries of 5 days determine a label."""
    lake, known = Lake(str(tmp_path / "lake")), []
    bought = dt.datetime.combine(day_at(3), dt.time(9))
    for offset in range(7):
        write_silver(lake, offset)
        events = {0: bought - dt.timedelta(days=3), delivered_after: bought}.get(offset)
        rows = (
            [] if events is None else [{"person": "a", "amount": Decimal(1), "paid_at": events, "dt": day_at(offset)}]
        )
        table = pa.Table.from_pylist(rows, schema=schema_of("payments"))
        lake.table(silver_table("payments")).replace([day_at(offset)], table)
        days = DayRange.single(day_at(offset))
        build_gold(business(lateness_days=2), lake, days, tmp_path)
        build_labels(business(lateness_days=2), lake, days)
        known.append([row["churned"] for row in tables(lake)[LABELS_TABLE] if row["dt"] == FIRST] if offset > 2 else [])
    assert known[:4] == [[], [], [], [1]]
    assert known[6] == [churned]
