"""Gold and labels, built from landing files."""

import datetime as dt
import math

import pyarrow as pa
import pytest

from include.days import DayRange
from include.features.definitions import differing_definitions
from include.features.gold import build_gold
from include.features.gold_checks import GoldChecks, feature_expectations
from include.features.labels import build_labels, matured_days
from include.lake import Lake
from include.lake.table_names import FEATURES_TABLE, LABELS_TABLE
from include.projects import Checks, Project
from include.projects.features import Validation
from include.quality.gate import GateError
from tests.world import FIRST, grocery, ingest, write_day, write_world

pytestmark = pytest.mark.slow

LAST = FIRST + dt.timedelta(days=119)
DAYS = DayRange(FIRST, LAST)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    lake = Lake(str(root / "lake"))
    write_world(root / "landing", DayRange(FIRST, LAST + dt.timedelta(days=1)))
    ingest(grocery(), lake, root / "landing", DAYS, root / "reports")
    build_gold(grocery(), lake, DAYS, root / "reports")
    build_labels(grocery(), lake, DAYS)
    return root, lake


def gold(lake, name=FEATURES_TABLE):
    everything = DayRange(FIRST, LAST + dt.timedelta(days=1))
    return lake.table(name).read(everything).sort_by([("dt", "ascending"), ("customer_id", "ascending")])


def test_gold_has_one_row_per_household_and_snapshot_day(world):
    _, lake = world
    rows = gold(lake).to_pandas()
    assert not rows.duplicated(["dt", "customer_id"]).any()
    assert set(rows["dt"]) == {day for day in DAYS if grocery().is_snapshot_day(day)} | {LAST}
    assert len(rows.columns) == 2 + len(grocery().features)


def test_labels_are_correct_and_exist_only_for_matured_days(world):
    _, lake = world
    horizon = dt.timedelta(days=28)
    labels = gold(lake, LABELS_TABLE).to_pandas()
    assert labels["dt"].max() + horizon <= LAST
    assert set(labels["dt"]) == {day for day in lake.table(FEATURES_TABLE).days() if day + horizon <= LAST}
    bought = lake.table("silver/transactions").read(DAYS).to_pandas()
    bought["day"] = bought["transaction_timestamp"].dt.date
    for day, part in labels.groupby("dt"):
        stayed = set(bought.loc[(bought["day"] > day) & (bought["day"] <= day + horizon), "household_id"])
        assert part["churned"].tolist() == [int(customer not in stayed) for customer in part["customer_id"]]


def test_missing_delivery_delays_the_labels_that_need_it(world, tmp_path):
    lake = Lake(str(tmp_path / "lake"))
    landing = tmp_path / "landing"
    write_world(landing, DayRange(FIRST, FIRST + dt.timedelta(days=115)))
    gap = FIRST + dt.timedelta(days=100)
    for days in (
        DayRange(FIRST, gap - dt.timedelta(days=1)),
        DayRange(gap + dt.timedelta(days=1), LAST - dt.timedelta(4)),
    ):
        ingest(grocery(), lake, landing, days, tmp_path / "reports")
    build_gold(grocery(), lake, DayRange(FIRST, FIRST + dt.timedelta(days=84)), tmp_path / "reports")
    snapshot = FIRST + dt.timedelta(days=84)
    assert matured_days(grocery(), lake, DayRange.single(snapshot)) == []
    ingest(grocery(), lake, landing, DayRange.single(gap), tmp_path / "reports")
    build_labels(grocery(), lake, DayRange.single(gap))
    assert lake.table(LABELS_TABLE).days() == [snapshot]


def test_rebuild_gives_the_same_rows(world):
    root, lake = world
    features, labels = gold(lake), gold(lake, LABELS_TABLE)
    build_gold(grocery(), lake, DAYS, root / "reports")
    build_labels(grocery(), lake, DAYS)
    assert gold(lake).equals(features)
    assert gold(lake, LABELS_TABLE).equals(labels)


def test_next_day_leaves_earlier_days_unchanged(world):
    root, lake = world
    before = gold(lake)
    day = LAST + dt.timedelta(days=1)
    write_day(root / "landing", day)
    ingest(grocery(), lake, root / "landing", DayRange.single(day), root / "reports")
    build_gold(grocery(), lake, DayRange.single(day), root / "reports")
    after = gold(lake)
    assert lake.table(FEATURES_TABLE).days()[-1] == day
    assert after.slice(0, before.num_rows).equals(before)


def test_records_the_definitions_of_each_day(world):
    root, lake = world
    days = lake.table(LABELS_TABLE).days()
    assert differing_definitions(grocery(), lake, days) == ({}, {})
    content = grocery().model_dump()
    (renamed,) = (family for family in content["feature_families"] if family["name"] == "stores_{window}d")
    renamed["name"] = "shops_{window}d"
    content["label"]["horizon_days"] = 27
    changed = Project.model_validate(content)
    features, labels = differing_definitions(changed, lake, days)
    assert features == {day: ["shops_28d", "shops_84d"] for day in days}
    assert labels == {day: ["churned"] for day in days}
    build_gold(changed, lake, DayRange.single(days[-1]), root / "reports")
    assert differing_definitions(changed, lake, days)[0] == {day: ["shops_28d", "shops_84d"] for day in days[:-1]}
    build_gold(grocery(), lake, DayRange.single(days[-1]), root / "reports")
    assert differing_definitions(grocery(), lake, days) == ({}, {})


def test_validations_become_expectations():
    rules = {(rule.type, rule.arguments["column"]) for rule in feature_expectations(grocery().features)}
    assert ("expect_column_values_to_be_between", "spend_28d") in rules
    assert ("expect_column_values_to_not_be_null", "spend_28d") in rules
    assert ("expect_column_values_to_be_in_set", "income") in rules


def test_numbers_that_are_infinite_as_32_bit_floats_are_refused():
    project = grocery()
    columns = {
        spec.name: pa.array([None] * 5, pa.string()) if spec.categories else pa.array([0.0] * 5)
        for spec in project.features
    }
    rows = pa.table({"dt": pa.array([LAST] * 5, pa.date32()), "customer_id": list("abcde"), **columns})
    numbers = {"lateness": [1e39, 0, None, float("nan"), 0], "basket_trend_7_28": [-math.inf, math.inf, 0, 0, 3.4e38]}
    for name, values in numbers.items():
        rows = rows.set_column(rows.schema.get_field_index(name), name, pa.array(values, pa.float64()))
    free = [
        family.model_copy(update={"validation": Validation()}) if family.name in numbers else family
        for family in project.feature_families
    ]
    project.__dict__.pop("features", None)
    checks = GoldChecks(project.model_copy(update={"feature_families": free, "gold_checks": Checks()}))
    passed, refused = checks.split(rows)
    assert passed["customer_id"].to_pylist() == ["c", "d", "e"]
    assert dict(zip(refused["customer_id"].to_pylist(), refused["rules"].to_pylist(), strict=True)) == {
        "a": "finite_as_float32(basket_trend_7_28), finite_as_float32(lateness)",
        "b": "finite_as_float32(basket_trend_7_28)",
    }
    (rule,) = [rule for rule in checks.outcome().rules if rule.rule.startswith("finite_as_float32")]
    assert (rule.refused, rule.success, rule.observed) == (2, False, "2 of 5 rows")


def test_shut_gate_leaves_gold_unchanged(world):
    root, lake = world
    project = grocery()
    families = [
        family.model_copy(update={"validation": family.validation.model_copy(update={"max": 0.0})})
        if family.name == "baskets_{window}d"
        else family
        for family in project.feature_families
    ]
    strict = project.model_copy(update={"feature_families": families})
    strict.__dict__.pop("features", None)
    version = lake.table(FEATURES_TABLE).version()
    with pytest.raises(GateError, match=r"gold/features is shut.*gold\.html"):
        build_gold(strict, lake, DayRange.single(LAST), root / "reports")
    assert lake.table(FEATURES_TABLE).version() == version
