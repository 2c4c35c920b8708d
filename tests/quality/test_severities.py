"""The effects of the three severities, and expectations over several days."""

import logging

import pytest

from include.quality import source_checks
from include.quality.gate import GateError
from tests.quality.shop import ORDERS, Shop, day, days, project

pytestmark = pytest.mark.slow  # the first check imports Great Expectations

BETWEEN = {
    "type": "expect_column_values_to_be_between",
    "arguments": {"column": "amount", "min_value": 0, "max_value": 10},
}
UNIQUE = {"type": "expect_column_values_to_be_unique", "arguments": {"column": "customer_id"}}
MEAN = {
    "type": "expect_column_mean_to_be_between",
    "severity": "stop",
    "arguments": {"column": "amount", "min_value": 1, "max_value": 10},
}


def shop(root, *expectations, share=0.0):
    rules = {"orders": {"minimum_pass_share": share, "expectations": list(expectations)}}
    return Shop(root, project({"orders": ORDERS}, rules))


def test_refuse_sends_rows_to_quarantine(tmp_path):
    world = shop(tmp_path, BETWEEN)
    world.orders(0, ["a"])
    world.orders(1, ["b"], amount="11")
    world.ingest(0, 1)
    assert world.rules() == {(1, "b"): "expect_column_values_to_be_between(amount)"}
    assert world.silver() == [(day(0), "a")]


def test_a_rule_may_occur_with_two_severities(tmp_path):
    world = shop(tmp_path, BETWEEN | {"severity": "warn"}, BETWEEN)
    world.orders(0, ["a"], amount="11")
    world.ingest(0)
    assert world.rules() == {(0, "a"): "expect_column_values_to_be_between(amount)"}


def test_warn_keeps_rows_and_logs_one_warning(tmp_path, caplog):
    world = shop(tmp_path, BETWEEN | {"severity": "warn"}, share=1.0)
    world.orders(0, ["a", "b"], amount="11")
    world.orders(1, ["c"])
    with caplog.at_level(logging.WARNING, "include.quality"):
        world.ingest(0, 1)
    assert len(world.silver()) == 3
    (record,) = [item for item in caplog.records if item.message == "rule violated"]
    assert record.observed == "2 of 3 rows"
    assert record.rule == "expect_column_values_to_be_between(amount)"
    page = (world.reports / str(day(1)) / "silver.html").read_text()
    assert "1 warning<" in page
    assert record.report.endswith("silver.html")


def test_stop_shuts_the_gate(tmp_path):
    world = shop(tmp_path, BETWEEN | {"severity": "stop"})
    world.orders(0, ["a", "b"], amount="11")
    with pytest.raises(GateError, match=r"between\(amount\) found 2 of 2 rows"):
        world.ingest(0)
    assert world.silver() == []


def test_mostly_applies_to_the_rows_of_all_days_together(tmp_path):
    rule = BETWEEN | {"severity": "stop", "arguments": BETWEEN["arguments"] | {"mostly": 0.6}}
    world = shop(tmp_path, rule)
    world.orders(0, ["a", "b"])
    world.orders(1, ["c"], amount="11")
    world.ingest(0, 1)
    with pytest.raises(GateError):
        world.ingest(1)


def test_table_rule_is_evaluated_for_each_day(tmp_path):
    world = shop(tmp_path, MEAN, UNIQUE)
    world.orders(0, ["a"], customer="x")
    world.orders(1, [])
    world.orders(2, ["b"], customer="x")
    world.ingest(0, 2)
    assert len(world.silver()) == 2, "the same customer on two days is not a duplicate within a day"
    world.orders(1, ["c"], amount="99")
    with pytest.raises(GateError, match=r"mean_to_be_between\(amount\) found 99\.0 on 2024-01-02"):
        world.ingest(0, 2)


def test_row_condition_selects_rows(tmp_path):
    arguments = BETWEEN["arguments"] | {"row_condition": "order_id IN ('a', 'b') AND NOT customer_id IS NULL"}
    world = shop(tmp_path, BETWEEN | {"arguments": arguments})
    world.orders(0, ["a", "c"], amount="11")
    world.ingest(0)
    assert [order for _, order in world.rules()] == ["a"]


def test_result_does_not_depend_on_block_size(tmp_path, monkeypatch):
    worlds = [shop(tmp_path / name, BETWEEN, UNIQUE, MEAN) for name in ("whole", "cut")]
    for world, rows_at_once in zip(worlds, (1_000_000, 3), strict=True):
        for number in range(6):
            world.orders(number, [f"{number}{at}" for at in range(number)], amount=str(4 + number))
        world.project = world.project.model_copy(
            update={"sources": {"orders": ORDERS.model_copy(update={"deduplicate_days": 2})}}
        )
        monkeypatch.setattr(source_checks, "ROWS_AT_ONCE", rows_at_once)
        world.ingest(0, 6 - 1)
    for table in ("silver/orders", "quarantine/orders"):
        whole, cut = (world.read(table) for world in worlds)
        assert whole == cut
    reports = [(world.reports / str(days(0, 5).last) / "silver.json").read_text() for world in worlds]
    assert reports[0] == reports[1]
