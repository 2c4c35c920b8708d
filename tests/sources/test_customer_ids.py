"""The customers of bronze rows: their ids in every spelling that a source can have for them."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from include.projects import Source
from include.sources.bronze_tables import UNDECLARED, unreadable_json
from include.sources.customer_ids import CustomerRows, gold_ids
from tests.sources.conftest import source


def source_of(kind: str, **files: object) -> Source:
    columns = {"payment_id": {"type": "string"}, "paid_at": {"type": "timestamp"}, "member": {"type": kind}}
    return source(columns=columns, customer="member", files={"format": "csv", "path": "p/{day}.csv"} | files)


def rows_of(*members: str | None, undeclared: str | None = None) -> pa.Table:
    return pa.table(
        {"member": pa.array(members, pa.string()), UNDECLARED: pa.array([undeclared] * len(members), pa.string())}
    )


@pytest.mark.parametrize(
    ("kind", "spellings", "others"),
    [
        ("integer", ["123", "00123", " 123 ", "+123", "123.0", "\u00a0123"], ["1230", "12 3", "1.23e2", "x123"]),
        ("string", ["123", " 123", "123\t", "\ufeff123"], ["00123", "123.0", "+123", "1234"]),
        ("decimal", ["123", "123.0", "123.00000"], ["123.5", "1230"]),
    ],
)
def test_all_spellings_of_an_id_are_the_same_customer(kind: str, spellings: list[str], others: list[str]) -> None:
    typed = source_of(kind)
    customer = gold_ids(typed, ["123"])["123"]
    found = CustomerRows(typed, customer.__eq__).values(rows_of(*spellings, *others, None, ""))
    assert sorted(found["member"]) == sorted(spellings)
    assert UNDECLARED not in found


def test_id_that_is_not_of_its_type_is_compared_as_text() -> None:
    found = CustomerRows(source_of("integer"), "12a".__eq__).values(rows_of(" 12a", "12A", "12"))
    assert found == {"member": [" 12a"]}


@pytest.mark.parametrize(
    "text",
    ["p1;C-7;3;4", 'p1;"C-7";3;4', "p1; C-7 ;3", '{"payment_id": "p1", "member": "C-7", "paid', "p1,C-7,5", "C-7"],
)
def test_unreadable_row_with_the_id_as_a_value_belongs_to_the_customer(text: str) -> None:
    row = unreadable_json("4 values instead of 3", text)
    rows = pa.concat_tables([rows_of(None, undeclared=row), rows_of("C-8", undeclared=json.dumps({"n": "C-7"}))])
    customer = CustomerRows(source_of("string", separator=";"), "C-7".__eq__)
    assert customer.values(rows) == {UNDECLARED: [row]}
    assert customer.without(rows)["member"].to_pylist() == ["C-8"]


@pytest.mark.parametrize("text", ["p1;C-77;3;4", "p1;XC-7;3", "p1;C 7;3"])
def test_unreadable_row_with_the_id_within_a_value_belongs_to_another_customer(text: str) -> None:
    rows = rows_of(None, undeclared=unreadable_json("reason", text))
    assert CustomerRows(source_of("string", separator=";"), "C-7".__eq__).values(rows) == {}


def test_id_may_contain_marks() -> None:
    customer = CustomerRows(source_of("string", separator=";"), "EU:7 a".__eq__)
    row = unreadable_json("reason", "p1;EU:7 a;3;4")
    assert customer.values(rows_of("EU:7 a", undeclared=row)) == {"member": ["EU:7 a"], UNDECLARED: [row]}
