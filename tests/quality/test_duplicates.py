"""Repeated keys within a day and over several days, with days ingested in any order."""

import datetime as dt

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from include.quality import silver
from include.quality.gate import GateError
from include.sources.bronze import load_bronze
from include.sources.connections import Connections
from tests.quality.shop import CUSTOMERS, ORDERS, Shop, day, days, project

pytestmark = pytest.mark.slow  # every case is several ingests

LENIENT = {"orders": {"minimum_pass_share": 0}, "customers": {"minimum_pass_share": 0}}


def shop(root, deduplicate_days=2):
    return Shop(root, project({"orders": ORDERS.model_copy(update={"deduplicate_days": deduplicate_days})}, LENIENT))


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2), (2, 0, 3, 1)])
def test_repeated_keys_do_not_depend_on_the_order_of_days(tmp_path, order):
    world = shop(tmp_path)
    world.orders(0, ["a", "b"])
    world.orders(1, ["a", "c"])
    world.orders(2, ["c", "d"])
    world.orders(3, ["a", "b", "d"])
    for number in order:
        world.ingest(number)
    # Key b is repeated after three days, outside the range. Key a on day 3 repeats the refused row of day 1.
    assert world.rules() == dict.fromkeys([(1, "a"), (2, "c"), (3, "a"), (3, "d")], "duplicate_key_earlier")
    assert world.silver() == [(day(0), "a"), (day(0), "b"), (day(1), "c"), (day(2), "d"), (day(3), "b")]


def test_corrected_delivery_rebuilds_later_days(tmp_path):
    world = shop(tmp_path)
    world.orders(0, ["a"])
    world.orders(1, ["a", "b"])
    world.orders(2, ["e"])
    world.ingest(0, 2)
    assert world.silver() == [(day(0), "a"), (day(1), "b"), (day(2), "e")]
    world.orders(0, ["z"])
    world.ingest(0)
    assert world.silver() == [(day(0), "z"), (day(1), "a"), (day(1), "b"), (day(2), "e")]
    assert world.rules() == {}
    (result,) = silver.build_silver(world.project, world.lake, days(0, 0), world.reports)
    assert result.detail["days_rebuilt"] == [str(day(1)), str(day(2))]
    assert (result.rows_read, result.rows_refused, result.rows_written) == (4, 0, 4)


def test_shut_gate_of_a_rebuilt_later_day_stops_the_run(tmp_path):
    world = shop(tmp_path)
    world.project = project(world.project.sources, {"orders": {"minimum_pass_share": 0.9}})
    world.orders(1, ["b"])
    world.ingest(1)
    world.orders(1, ["b"], amount="five")
    with pytest.raises(GateError):
        world.ingest(1)
    world.orders(0, ["a"])
    with pytest.raises(GateError, match=r"silver/orders \(later days, .*: 2024-01-02\) is shut"):
        world.ingest(0)
    assert world.silver() == [(day(1), "b")]
    world.orders(1, ["b"])
    load_bronze(world.project, world.lake, Connections(str(world.landing)), days(1, 1))
    world.ingest(0)
    assert world.silver() == [(day(0), "a"), (day(1), "b")]


def test_concurrent_delivery_is_included(tmp_path, monkeypatch):
    world = shop(tmp_path)
    world.orders(0, ["z"])
    world.orders(1, ["a", "b"])
    world.ingest(0, 1)

    def meanwhile(*arguments):
        monkeypatch.undo()
        world.orders(0, ["a"])
        load_bronze(world.project, world.lake, Connections(str(world.landing)), days(0, 0))
        return silver.write_report(*arguments)

    monkeypatch.setattr(silver, "write_report", meanwhile)
    silver.build_silver(world.project, world.lake, days(1, 1), world.reports)
    assert world.rules() == {(1, "a"): "duplicate_key_earlier"}


def test_invalid_row_does_not_make_a_later_row_a_duplicate(tmp_path):
    world = shop(tmp_path)
    world.deliver("orders", 0, [f"a,c,five,{day(0)} 10:00:00"])
    world.orders(1, ["a"])
    world.ingest(0, 1)
    assert world.rules() == {(0, "a"): "type:amount"}
    assert world.silver() == [(day(1), "a")]


def test_keys_can_repeat_without_deduplication(tmp_path):
    world = shop(tmp_path, deduplicate_days=0)
    world.orders(0, ["a"])
    world.orders(1, ["a"])
    world.ingest(0, 1)
    assert len(world.silver()) == 2


def test_empty_keys_are_no_duplicates(tmp_path):
    world = shop(tmp_path)
    world.orders(0, ["", "a"])
    world.ingest(0)
    assert world.rules() == {(0, None): "required:order_id"}


def test_latest_change_and_first_event_of_a_day_are_kept(tmp_path):
    world = Shop(tmp_path, project({"customers": CUSTOMERS, "orders": ORDERS}, LENIENT))
    world.deliver("customers", 0, [f"c,cancelled,{day(0)} 12:00:00", f"c,active,{day(0)} 09:00:00"])
    world.deliver("orders", 0, [f"a,c,1,{day(0)} 12:00:00", f"a,c,2,{day(0)} 09:00:00"])
    world.ingest(0)
    assert world.read("silver/customers", "status") == [("cancelled",)]
    assert [int(amount) for (amount,) in world.read("silver/orders", "amount")] == [1]


# Id, amount and time of an order, sometimes invalid. There are few ids, so keys repeat within and across days.
ROW = st.tuples(
    st.sampled_from(["a", "b", "c", " ", ""]),
    st.sampled_from(["5", "5.25", "x", ""]),
    st.sampled_from(["0 10:00:00", "-1 23:00:00", "1 00:00:00", "someday"]),
)
DELIVERIES = st.lists(st.lists(ROW, max_size=6), min_size=3, max_size=3)


def _line(number, row):
    order, amount, when = row
    offset, _, clock = when.partition(" ")
    moment = f"{day(number) + dt.timedelta(days=int(offset))} {clock}" if clock else when
    return f"{order},c,{amount},{moment}"


@pytest.mark.slow
@settings(max_examples=6, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(deliveries=DELIVERIES, order=st.permutations([0, 1, 2]))
def test_each_bronze_row_is_in_silver_or_quarantine_for_any_order_of_days(tmp_path_factory, deliveries, order):
    worlds = [shop(tmp_path_factory.mktemp("world")) for _ in range(2)]
    for world in worlds:
        for number, rows in enumerate(deliveries):
            world.deliver("orders", number, [_line(number, row) for row in rows])
    for number in order:
        worlds[0].ingest(number)
    worlds[1].ingest(0, 2)
    for world in worlds:
        bronze, silver, quarantine = (
            world.lake.table(f"{layer}/orders").row_counts(days(0, 2)) for layer in ("bronze", "silver", "quarantine")
        )
        assert bronze == {at: silver.get(at, 0) + quarantine.get(at, 0) for at in {*silver, *quarantine}}
    one, other = worlds
    for table, columns in {"silver/orders": ["amount", "at"], "quarantine/orders": ["_row", "rules"]}.items():
        assert one.read(table, "dt", "order_id", *columns) == other.read(table, "dt", "order_id", *columns)
