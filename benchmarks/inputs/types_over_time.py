"""Two deliveries with different columns or types: a range has the same result as its days one by one."""
# ruff: noqa: E501 - an input is one line

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from benchmarks.inputs.library import Input, Refused, Right, csv_text, json_line, parquet_bytes, parquet_order
from benchmarks.inputs.shop import DAY, ORDER, Shop

_SECOND = DAY + dt.timedelta(days=1)
_BIG = 9007199254740993


def _both(
    name: str, extension: str, contents: Sequence[str | bytes], column: str, expected: Right | Refused
) -> tuple[Input, Input]:
    """Return the inputs of two deliveries, day by day and as a range.

    Args:
        name: The input's name.
        extension: The format.
        contents: The files of the first and of the second day.
        column: The column whose values in silver count.
        expected: The outcome.
    """

    def prepare(shop: Shop) -> None:
        shop.declare(column)
        shop.orders["files"] = {"format": extension, "path": f"orders/{{day}}.{extension}"}
        for day, content in zip((DAY, _SECOND), contents, strict=True):
            shop.write(f"orders/{day}.{extension}", content)

    def day_by_day(shop: Shop) -> object:
        prepare(shop)
        shop.ingest_orders(DAY)
        shop.ingest_orders(_SECOND)
        return shop.silver(column)

    def as_a_range(shop: Shop) -> object:
        prepare(shop)
        shop.ingest_orders(DAY, _SECOND)
        return shop.silver(column)

    return Input(f"{name}, day by day", day_by_day, expected), Input(f"{name}, as a range", as_a_range, expected)


def _types(name: str, column: str, first: pa.Array, second: pa.Array, expected: Right | Refused) -> tuple[Input, Input]:
    """Return the inputs of a Parquet column whose type changes."""
    contents = [parquet_bytes(parquet_order(**{column: values})) for values in (first, second)]
    return _both(name, "parquet", contents, column, expected)


def _csv(
    name: str, first: Mapping[str, str], second: Mapping[str, str], expected: Right | Refused
) -> tuple[Input, Input]:
    return _both(name, "csv", [csv_text([first]), csv_text([second])], "amount", expected)


def _without(column: str) -> dict[str, str]:
    return {name: text for name, text in ORDER.items() if name != column}


def _json(**cells: str) -> str:
    return json_line({name: f'"{text}"' for name, text in ORDER.items()} | cells)


def _decimal(text: str, *size: int) -> pa.Array:
    return pa.array([Decimal(text)], pa.decimal128(*size))


_NOON = dt.datetime(2026, 3, 1, 12)  # noqa: DTZ001
_TWO: Any = Right(["12.5000", "12.5000"])

INPUTS = [
    *_types("id from int64 to double", "customer_id", pa.array([_BIG]), pa.array([float(_BIG)]), Refused("'customer_id'", "int64", "double", str(_SECOND))),
    *_types("id from int64 to text", "customer_id", pa.array([_BIG]), pa.array([f"0{_BIG}"]), Refused("'customer_id'", "int64", "string", str(_SECOND))),
    *_types("day from date to timestamp", "due", pa.array([_NOON.date()]), pa.array([_NOON]), Refused("'due'", "date32", "timestamp", str(_SECOND))),
    *_types("number from int64 to double", "amount", pa.array([7]), pa.array([7.25]), Right(["7.0000", "7.2500"])),
    *_types("number from int32 to int64", "qty", pa.array([7], pa.int32()), pa.array([_BIG]), Right(["7", str(_BIG)])),
    *_types("decimal with another precision", "amount", _decimal("12.50", 10, 2), _decimal("12.3456", 20, 4), Right(["12.5000", "12.3456"])),
    *_types("decimal with more places", "amount", _decimal("12.50", 10, 2), _decimal("12.500000", 20, 6), _TWO),
    *_types("time without and with a zone", "ordered_at", pa.array([_NOON]), pa.array([_NOON], pa.timestamp("us", "America/New_York")), Right(["2026-03-01 12:00:00"] * 2)),
    *_types("time in other units", "ordered_at", pa.array([_NOON], pa.timestamp("ms")), pa.array([_NOON], pa.timestamp("ns")), Right(["2026-03-01 12:00:00"] * 2)),
    *_types("text from plain to dictionary", "note", pa.array(["x"]), pa.array(["y"]).dictionary_encode(), Right(["x", "y"])),
    *_types("column without a type at first", "qty", pa.nulls(1), pa.array([7]), Right([None, "7"])),
    *_csv("column added", ORDER, {"new": "x"} | ORDER, _TWO),
    *_csv("undeclared column removed", ORDER | {"old": "x"}, ORDER, _TWO),
    *_csv("columns in another order", ORDER, dict(reversed(ORDER.items())), _TWO),
    *_csv("declared column removed", ORDER, _without("amount"), Refused("'amount'", "missing", str(_SECOND))),
    *_csv("declared column renamed", ORDER, _without("amount") | {"total": "12.50"}, Refused("'amount'", "total", str(_SECOND))),
    *_both("JSON value from number to text", "jsonl", [_json(amount="12.5"), _json(amount='"12.5"')], "amount", _TWO),
    *_both("JSON key omitted", "jsonl", [_json(), json_line({k: f'"{v}"' for k, v in _without("amount").items()})], "amount", Right(["12.5000", None])),
]  # fmt: skip
