"""Every element of the feature specification against a row-by-row reference, on random histories."""

import datetime as dt

import pytest

from include.features.compile import compute_features, population
from include.features.labels import compute_labels
from include.lake import connect
from tests.features.histories import DERIVE, SATISFIES, SNAPSHOTS, agrees, history
from tests.features.language import (
    ACTIVE_PAYERS,
    ACTIVE_PLANS,
    BECOMES,
    COLUMN,
    IN_BAND,
    NO_EVENT,
    MemoryLake,
    features_named,
    project,
)
from tests.features.reference import Reference

pytestmark = pytest.mark.slow

ZONES = ["UTC", "America/New_York"]
"""Zones of the business; in New York, some events are on the day before their UTC day."""


@pytest.mark.parametrize("zone", ZONES)
def test_features_equal_a_row_by_row_reference(rows, features, zone):
    business = project(timezone=zone)
    reference = Reference(business, rows, DERIVE, SATISFIES)
    found = (features if zone == "UTC" else compute_features(business, MemoryLake(rows), SNAPSHOTS)).to_pylist()
    assert {(row["dt"], row["customer_id"]) for row in found} == {
        (day, customer) for day in SNAPSHOTS for customer in reference.population(day)
    }
    for row in found:
        for name, expected in reference.features(row["customer_id"], row["dt"]).items():
            assert agrees(row[name], expected), (name, row[name], expected, history(rows, row["customer_id"]))


def test_tenure_of_a_year_is_365_days():
    signed_up, day = dt.date(2023, 1, 1), dt.date(2024, 1, 1)
    moment = dt.datetime.combine(signed_up, dt.time(10))
    rows = {name: [{"person": "a", "dt": signed_up}] for name in ("profiles", "devices")}
    rows["products"] = [{"product": "p", "dt": signed_up}]
    rows["plans"] = [{"person": "a", "since": signed_up, "changed_at": moment, "dt": signed_up}]
    business = project({"source": "plans"}, feature_families=features_named("days_since_plans_since"))
    (found,) = compute_features(business, MemoryLake(rows), [day]).to_pylist()
    assert found["days_since_plans_since"] == 365


@pytest.mark.parametrize(
    ("zone", "paid_at", "day"),
    [
        ("UTC", "2024-03-10 15:00", 10),
        ("Asia/Tokyo", "2024-03-10 14:59", 10),
        ("Asia/Tokyo", "2024-03-10 15:00", 11),
        ("America/New_York", "2024-03-10 04:59", 9),  # the clocks change on 2024-03-10
        ("America/New_York", "2024-03-11 03:59", 10),
        ("Europe/Berlin", "2024-03-30 23:00", 31),  # the clocks change on 2024-03-31
        ("Europe/Berlin", "2024-03-31 22:00", 32),
    ],
)
def test_a_timestamp_counts_on_its_business_day(zone, paid_at, day):
    moment, first = dt.datetime.fromisoformat(paid_at), dt.date(2024, 3, 1)
    delivery = first + dt.timedelta(days=day - 1)
    rows = {name: [{"person": "a", "dt": first}] for name in ("profiles", "devices")}
    rows["products"] = [{"product": "p", "dt": first}]
    rows["payments"] = [{"payment": "1", "person": "a", "paid_at": moment, "dt": delivery}]
    rows["plans"] = [{"person": "a", "changed_at": moment, "dt": delivery}]
    snapshots = [delivery, delivery + dt.timedelta(days=7)]
    families = features_named("days_since_last_{window}d", "days_since_plans_changed_at", "count_{window}d")
    business = project({"source": "plans"}, timezone=zone, feature_families=families)
    found = compute_features(business, MemoryLake(rows), snapshots).to_pylist()
    assert [row["days_since_last_45d"] for row in found] == [0, 7]
    assert [row["days_since_plans_changed_at"] for row in found] == [0, 7]
    assert [row["count_1d"] for row in found] == [1, 0]


@pytest.mark.parametrize("who", [ACTIVE_PAYERS, ACTIVE_PLANS, IN_BAND, {"source": "plans"}, {"source": "devices"}])
def test_population_equals_a_row_by_row_reference(who, rows):
    business = project(who)
    found = population(business, MemoryLake(rows), connect(), SNAPSHOTS).to_pyarrow().to_pylist()
    reference = Reference(business, rows, DERIVE, SATISFIES)
    expected = [(day, customer) for day in SNAPSHOTS for customer in reference.population(day)]
    assert sorted((row["dt"], row["customer_id"]) for row in found) == sorted(expected)


@pytest.mark.parametrize(("zone", "lateness_days"), [*((zone, 3) for zone in ZONES), ("UTC", 0), ("UTC", 28)])
@pytest.mark.parametrize("label", [NO_EVENT, BECOMES, COLUMN], ids=lambda label: label.kind)
def test_labels_equal_a_row_by_row_reference(label, zone, lateness_days, rows):
    business = project({"source": "plans"}, label, timezone=zone, lateness_days=lateness_days)
    engine = connect()
    gold = engine.create_table("gold", population(business, MemoryLake(rows), engine, SNAPSHOTS), temp=True)
    found = engine.to_pyarrow(compute_labels(business, MemoryLake(rows), engine, gold, SNAPSHOTS)).to_pylist()
    reference = Reference(business, rows, DERIVE, SATISFIES)
    expected = {
        (day, customer): churned
        for day in SNAPSHOTS
        for customer in reference.population(day)
        if (churned := reference.churned(customer, day)) is not None
    }
    assert {(row["dt"], row["customer_id"]): row["churned"] for row in found} == expected
    assert 0 < sum(expected.values()) < len(expected)
