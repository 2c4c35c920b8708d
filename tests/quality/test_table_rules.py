"""Rules on whole tables: satisfied, violated, and not evaluated."""

import json
import re

import pytest
from pydantic import TypeAdapter

from include.lake.table_names import silver_table
from include.projects.features import FeatureFamily
from include.projects.label import Label
from include.projects.project import Population
from include.projects.sources import Freshness, Lookup
from include.quality.gate import GateError
from tests.quality.shop import CUSTOMERS, ORDERS, REGIONS, Shop, day, project

pytestmark = pytest.mark.slow  # every case is several ingests


def outcome(world, last, rule, table="orders"):
    """Return the outcome of a rule in the report of the day."""
    tables = json.loads((world.reports / str(day(last)) / "silver.json").read_text())
    (found,) = [item for item in tables if item["table"] == silver_table(table)]
    (result,) = [item for item in found["rules"] if item["rule"].startswith(rule)]
    return result


def ids(number, count):
    return [f"{number}-{at}" for at in range(count)]


COUNTS = {"row_count": {"history_days": 3, "minimum_days": 2, "min_ratio": 0.5, "max_ratio": 2}}


@pytest.mark.parametrize("together", [True, False])
def test_row_count_is_compared_with_the_median_of_earlier_days(tmp_path, together):
    world = Shop(tmp_path, project({"orders": ORDERS}, {"orders": COUNTS}))
    for number, count in enumerate([4, 6, 1, 5, 9]):
        world.orders(number, ids(number, count))
    if together:
        with pytest.raises(GateError, match=r"row_count found 1 row on 2024-01-03; the median is 5"):
            world.ingest(0, 4)
        assert world.silver() == []
        return
    world.ingest(0)
    assert not outcome(world, 0, "row_count")["judged"]
    world.ingest(1)
    with pytest.raises(GateError, match="row_count found 1 row on 2024-01-03"):
        world.ingest(2)
    world.ingest(3)
    world.ingest(4)
    assert outcome(world, 4, "row_count")["success"], "9 is not above twice the median of 6, 1 and 5"
    assert {when for when, _ in world.silver()} == {day(0), day(1), day(3), day(4)}


def test_row_count_ignores_allowed_days_without_rows(tmp_path):
    world = Shop(tmp_path, project({"orders": ORDERS}, {"orders": COUNTS}))
    for number, count in enumerate([4, 4, 0]):
        world.orders(number, ids(number, count))
    world.ingest(0, 2)
    assert not outcome(world, 2, "row_count")["judged"]


def test_freshness_of_events_includes_earlier_days(tmp_path):
    world = Shop(tmp_path, project({"orders": ORDERS}, {"orders": {"freshness": {"max_age_days": 1}}}))
    for number in range(3):
        world.orders(number, ids(number, 1 if number == 0 else 0))
    world.ingest(0)
    world.ingest(1)
    assert "2024-01-01" in outcome(world, 1, "freshness")["observed"]
    with pytest.raises(GateError, match=r"freshness found 2024-01-01 as the newest event by 2024-01-03"):
        world.ingest(2)


def test_freshness_of_a_snapshot_is_the_age_of_its_newest_delivery(tmp_path):
    rules = {"regions": {"freshness": {"max_age_days": 2, "severity": "warn"}}}
    world = Shop(tmp_path, project({"regions": REGIONS}, rules))
    world.deliver("regions", 0, ["c,north"])
    world.ingest(0)
    world.ingest(2)
    assert outcome(world, 2, "freshness", "regions")["success"]
    world.ingest(3)
    result = outcome(world, 3, "freshness", "regions")
    assert not result["success"]
    assert result["observed"] == "2024-01-01 as the newest delivery by 2024-01-04"


def related(tmp_path, other, severity="stop", min_share=1.0, first=("orders",)):
    key = {"column": "customer_id", "references": "customer_id", "severity": severity, "min_share": min_share}
    rules = {"orders": {"foreign_keys": [key | {"source": other}]}}
    sources = {"orders": ORDERS, other: {"customers": CUSTOMERS, "regions": REGIONS}[other]}
    if first != ("orders",):
        sources = dict(reversed(sources.items()))
    return Shop(tmp_path, project(sources, rules))


@pytest.mark.parametrize("first", [("orders",), ("customers",)])
def test_foreign_key_must_match_a_row_of_the_same_day_or_earlier(tmp_path, first):
    world = related(tmp_path, "customers", first=first)
    world.deliver("customers", 0, [f"a,active,{day(0)} 08:00:00"])
    world.deliver("customers", 1, [f"b,active,{day(1)} 08:00:00"])
    world.deliver("customers", 2, [])
    world.orders(0, ["1"], customer="a")
    world.orders(1, ["2"], customer="b")
    world.orders(2, ["3"], customer="a")
    world.ingest(0, 1)
    world.ingest(2)
    assert outcome(world, 2, "foreign_key")["observed"] == "0 of 1 row without a match"
    world.orders(0, ["1"], customer="b")  # customer b arrives one day later
    with pytest.raises(GateError, match=r"foreign_key\(customer_id\) in customers.customer_id found 1 of 1 row"):
        world.ingest(0)


def test_foreign_key_must_match_the_snapshot_in_force(tmp_path):
    world = related(tmp_path, "regions", severity="warn")
    world.deliver("regions", 0, ["a,north"])
    world.deliver("regions", 2, ["b,south"])
    for number in range(4):
        world.orders(number, [str(number)], customer="a")
    world.ingest(0)
    world.ingest(1, 3)
    result = outcome(world, 3, "foreign_key")
    assert (result["observed"], result["days"]) == ("2 of 3 rows without a match", "2 days, most on 2024-01-03")


def test_foreign_key_ignores_refused_rows_and_allows_a_share_of_orphans(tmp_path):
    world = related(tmp_path, "customers", min_share=0.5)
    world.project.checks["orders"] = world.project.checks["orders"].model_copy(update={"minimum_pass_share": 0})
    world.project = world.project.model_copy(update={"checks": world.project.checks | {"customers": LENIENT}})
    world.deliver("customers", 0, [f"a,active,{day(0)} 08:00:00", "b,active,never"])
    at = f"{day(0)} 10:00:00"
    world.deliver("orders", 0, [f"1,a,5,{at}", f"2,b,5,{at}", f"3,z,five,{at}"])
    world.ingest(0)
    assert outcome(world, 0, "foreign_key")["observed"] == "1 of 2 rows without a match"


LENIENT = project({"orders": ORDERS}, {"orders": {"minimum_pass_share": 0}}).checks["orders"]


def test_missing_days_do_not_fail_later_days(tmp_path):
    world = related(tmp_path, "customers")
    world.project = world.project.model_copy(
        update={"checks": {"orders": world.project.checks["orders"].model_copy(update={"freshness": STRICT})}}
    )
    world.deliver("customers", 0, [f"a,active,{day(0)} 08:00:00"])
    world.deliver("customers", 1, [f"b,active,{day(1)} 08:00:00"])
    for number in (2, 3):
        world.deliver("customers", number, [])
    for number, customer in enumerate("abb"):
        world.orders(number, [str(number)], customer=customer)
    world.orders(3, [])
    world.ingest(0)
    world.ingest(2)  # customer b arrives with day 1
    assert not outcome(world, 2, "foreign_key")["judged"]
    world.ingest(3)
    assert outcome(world, 3, "freshness")["success"]
    world.ingest(1)
    world.ingest(2)
    assert outcome(world, 2, "foreign_key")["observed"] == "0 of 1 row without a match"


STRICT = Freshness(max_age_days=1)


def labelled(tmp_path, label, population=None, **more):
    made_of = project({"customers": CUSTOMERS}).model_copy(
        update={
            "label": TypeAdapter(Label).validate_python({"description": "", "source": "customers", **label}),
            "population": Population(source="customers", **(population or {})),
            "features": [],
            **more,
        }
    )
    return Shop(tmp_path, made_of)


BECOMES = {"kind": "becomes", "column": "status", "value": "left", "horizon_days": 3}
COLUMN = {"kind": "column", "column": "status", "value": "left", "other_values": ["here"]}
ACTIVE = {"column": "status", "values": ["active"]}


@pytest.mark.parametrize(
    ("label", "population", "status", "expected"),
    [
        (BECOMES, None, "Left", "'Left' (2 rows), which differs from 'left' only in case or blanks"),
        (COLUMN, None, "HERE", "'HERE' (2 rows), which differs from 'here' only in case or blanks"),
        (BECOMES, ACTIVE, "Active", "'Active' (2 rows), which differs from 'active' only in case or blanks"),
        (BECOMES | {"value": "has left"}, None, "Has  Left", "'Has  Left' (2 rows), which differs from 'has left'"),
        (BECOMES, ACTIVE, "left early", None),
        (BECOMES, ACTIVE | {"values": ["active", "Left"]}, "Left", None),  # named itself
        (BECOMES, None, "", None),
    ],
)
def test_texts_that_differ_from_a_named_value_only_in_case_or_blanks_stop_the_run(
    tmp_path, label, population, status, expected
):
    world = labelled(tmp_path, label, population)
    world.deliver("customers", 0, [f"a,{status},2024-01-01", f"b,{status},2024-01-01", "c,left,2024-01-01"])
    if expected is None:
        world.ingest(0)
        return
    with pytest.raises(GateError, match=f"spelling:status found {re.escape(expected)}"):
        world.ingest(0)
    result = outcome(world, 0, "spelling:status", "customers")
    assert (result["severity"], "2024-01-01" in result["days"]) == ("stop", True)


def test_spelling_of_a_looked_up_share_is_a_warning_about_its_own_source(tmp_path):
    share = {"function": "share", "source": "orders", "column": "region", "value": "north"}
    family = {"name": "share", "description": "", "type": "aggregation", "calculation": share, "windows": [7]}
    orders = ORDERS.model_copy(update={"lookups": [Lookup(source="regions", by="customer_id", columns=["region"])]})
    made_of = project({"orders": orders, "regions": REGIONS}).model_copy(
        update={"features": FeatureFamily.model_validate(family).expand()}
    )
    world = Shop(tmp_path, made_of)
    world.orders(0, ["1"])
    world.deliver("regions", 0, ["a,North", "b,north"])
    world.ingest(0)
    result = outcome(world, 0, "spelling:region", "regions")
    assert (result["severity"], result["success"]) == ("warn", False)
    assert result["observed"] == "'North' (1 row), which differs from 'north' only in case or blanks"
