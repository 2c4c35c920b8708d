"""Texts, numbers and dates that look like values of a type: in CSV, JSON lines and Parquet."""
# ruff: noqa: E501 - an input is one line

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pyarrow as pa

from benchmarks.inputs.library import (
    JSON_ORDER,
    Input,
    Quarantined,
    Refused,
    Right,
    csv_cell,
    deliver_orders,
    json_cell,
    json_line,
    parquet_cell,
)
from benchmarks.inputs.shop import Shop

_CSV = [
    # decimals
    ("decimal with five places", "amount", "12.34567", "type:amount:digits"),
    ("decimal below the last place", "amount", "0.00005", "type:amount:digits"),
    ("decimal with needless zeros", "amount", "12.3400000", "12.3400"),
    ("decimal with underscore", "amount", "1_000", "type:amount"),
    ("decimal with thousands comma", "amount", "1,000.50", "type:amount"),
    ("decimal with thousands blank", "amount", "1 000.50", "type:amount"),
    ("decimal with thousands apostrophe", "amount", "1'000", "type:amount"),
    ("decimal with decimal comma", "amount", "12,50", "type:amount"),
    ("decimal with currency", "amount", "$12.50", "type:amount"),
    ("decimal with exponent", "amount", "1e2", "type:amount"),
    ("decimal in brackets", "amount", "(12.50)", "type:amount"),
    ("decimal minus zero", "amount", "-0", "0.0000"),
    ("decimal with plus", "amount", "+5", "5.0000"),
    ("decimal of the largest size", "amount", "99999999999999.9999", "99999999999999.9999"),
    ("decimal too large", "amount", "100000000000000", "type:amount:range"),
    ("decimal of sixteen exact digits", "amount", "123456789012.3456", "123456789012.3456"),
    ("decimal sum by pandas", "amount", "36.900000000000006", "36.9000"),
    ("decimal third by pandas", "amount", "0.3333333333333333", "type:amount:digits"),
    # integers
    ("integer as a double", "qty", "1.0", "1"),
    ("integer with a fraction", "qty", "1.5", "type:qty"),
    ("integer with exponent", "qty", "1e3", "type:qty"),
    ("integer of the largest size", "qty", "9223372036854775807", "9223372036854775807"),
    ("integer past int64", "qty", "9223372036854775808", "type:qty:range"),
    ("integer of the smallest size", "qty", "-9223372036854775808", "-9223372036854775808"),
    ("integer past a double", "qty", "9007199254740993.0", "9007199254740993"),
    ("integer with leading zeros", "qty", "007", "7"),
    ("integer of twenty digits", "qty", "89490200001234567890", "type:qty:range"),
    ("integer in Arabic digits", "qty", "٣", "type:qty"),
    ("integer in full-width digits", "qty", "\uff17", "type:qty"),
    ("integer in hexadecimal", "qty", "0x10", "type:qty"),
    ("integer after no-break space", "qty", "\u00a07", "7"),
    ("integer before zero-width space", "qty", "7\u200b", "7"),
    ("integer after a byte-order mark", "qty", "\ufeff7", "7"),
    ("integer around no-break space", "qty", "1\u00a0000", "type:qty"),
    # numbers
    ("number with exponent", "score", "1E-5", "1e-05"),
    ("number past a double", "score", "1e400", "type:score:range"),
    ("number infinite", "score", "inf", "type:score:infinite"),
    ("number minus infinity", "score", "-Infinity", "type:score:infinite"),
    ("number NaN", "score", "NaN", None),
    ("number with underscore", "score", "1_000", "type:score"),
    ("number as a percentage", "score", "50%", "type:score"),
    # dates
    ("date with two-digit year", "due", "01-03-26", "type:due"),
    ("date on a leap day", "due", "2024-02-29", "2024-02-29"),
    ("date on no leap day", "due", "2026-02-29", "type:due"),
    ("date on 30 February", "due", "2024-02-30", "type:due"),
    ("date with slashes", "due", "05/03/2026", "type:due"),
    ("date with one-digit month", "due", "2026-3-5", "type:due"),
    ("date as a number of Excel", "due", "46086", "type:due"),
    ("date without separators", "due", "20260305", "type:due"),
    ("date at midnight", "due", "2026-03-05T00:00:00", "2026-03-05"),
    ("date with a time", "due", "2026-03-05 10:00:00", "type:due:time"),
    ("date in the year 0", "due", "0000-01-01", "type:due:year"),
    ("date in the year 1", "due", "0001-01-01", "type:due:year"),
    ("date in the year 9999", "due", "9999-12-31", "type:due:year"),
    ("date in the year 10000", "due", "10000-01-01", "type:due:year"),
    ("date infinity", "due", "infinity", "type:due:infinite"),
    ("date minus infinity", "due", "-infinity", "type:due:infinite"),
    ("date in full-width digits", "due", "\uff12026-03-05", "type:due"),
    # timestamps
    ("time with two-digit year", "ordered_at", "01-03-26 10:00:00", "type:ordered_at"),
    ("time 24:00", "ordered_at", "2026-02-28 24:00:00", "type:ordered_at"),
    ("time with a leap second", "ordered_at", "2026-02-28 23:59:60", "type:ordered_at"),
    ("time in nanoseconds", "ordered_at", "2026-03-01 10:00:00.123456789", "2026-03-01 10:00:00.123456"),
    ("time without seconds", "ordered_at", "2026-03-01T10:00", "2026-03-01 10:00:00"),
    ("time as a day", "ordered_at", "2026-03-01", "2026-03-01 00:00:00"),
    ("time as seconds since 1970", "ordered_at", "1772359200", "type:ordered_at"),
    ("time in the afternoon", "ordered_at", "2026-03-01 01:00:00 PM", "type:ordered_at"),
    ("time infinity", "ordered_at", "infinity", "type:ordered_at:infinite"),
    ("time in the year 20000", "ordered_at", "20000-01-01 00:00:00", "type:ordered_at:year"),
    ("time in the future", "ordered_at", "2026-03-02 00:00:00", "after_day:ordered_at"),
    # booleans
    ("boolean Yes", "gift", "Yes", "True"),
    ("boolean N", "gift", "N", "False"),
    ("boolean 1.0", "gift", "1.0", "True"),
    ("boolean on", "gift", "on", "type:gift"),
    ("boolean 2", "gift", "2", "type:gift"),
    ("boolean in German", "gift", "wahr", "type:gift"),
    # texts
    ("text of twenty digits", "note", "89490200001234567890", "89490200001234567890"),
    ("text with leading zeros", "note", "00042", "00042"),
    ("text as a double", "note", "1.0", "1.0"),
    ("text with a formula", "note", "=1+1", "=1+1"),
    ("text with emoji", "note", "na\u00efve \U0001f600", "na\u00efve \U0001f600"),
    ("text with a line break", "note", "one\ntwo", "one\ntwo"),
    ("text with quotes", "note", 'say "hi", twice', 'say "hi", twice'),
    ("text with NUL", "note", "a\0b", "a\0b"),
    ("text of a megabyte", "note", "x" * 1_000_000, "x" * 1_000_000),
]  # fmt: skip

_CSV_SETTINGS: list[tuple[str, str, str, str, dict[str, Any]]] = [
    ("date by day and month", "due", "5/3/2026", "2026-03-05", {"date_order": "dmy"}),
    ("date by day and month with dots", "due", "05.03.2026", "2026-03-05", {"date_order": "dmy"}),
    ("date by month and day", "due", "03/05/2026", "2026-03-05", {"date_order": "mdy"}),
    ("date in month 13", "due", "03/13/2026", "type:due", {"date_order": "dmy"}),
    ("date by day and month with two-digit year", "due", "05/03/26", "type:due", {"date_order": "dmy"}),
    ("date in declared years", "due", "9999-12-31", "9999-12-31", {"years": [1900, 9999]}),
    ("date before declared years", "due", "1999-12-31", "type:due:year", {"years": [2000, 2100]}),
]  # fmt: skip

_JSON = [
    ("JSON number past a double in a text", "note", "9007199254740993", "9007199254740993"),
    ("JSON number of twenty digits in a text", "note", "89490200001234567890", "89490200001234567890"),
    ("JSON number with a zero in a text", "note", "1.50", "1.50"),
    ("JSON exponent in a decimal", "amount", "1e2", "type:amount"),
    ("JSON exponent in a number", "score", "1e2", "100.0"),
    ("JSON number past a double", "score", "1e400", "type:score:range"),
    ("JSON number with five places", "amount", "12.34567", "type:amount:digits"),
    ("JSON sum of doubles", "amount", "0.30000000000000004", "0.3000"),
    ("JSON integer past int64", "qty", "9223372036854775808", "type:qty:range"),
    ("JSON true in a text", "note", "true", "true"),
    ("JSON true", "gift", "true", "True"),
    ("JSON NaN", "score", "NaN", None),
    ("JSON null", "note", "null", None),
    ("JSON nested value", "note", '{"a":[1,2.50]}', '{"a":[1,2.50]}'),
    ("JSON escapes", "note", r'"\u00e9\ud83d\ude00\n\"x\""', '\u00e9\U0001f600\n"x"'),
    ("JSON escaped NUL", "note", r'"a\u0000b"', "a\0b"),
    ("JSON empty text in a required column", "customer_id", '" "', "required:customer_id"),
]  # fmt: skip

_TWICE = json_line(JSON_ORDER).replace('"amount"', '"amount": 1, "amount"')
_KEPT = json_line(JSON_ORDER | {"order_id": '"b"'})


def _json_lines(name: str, content: str, expected: Right | Refused | Quarantined, **files: str) -> Input:
    def deliver(shop: Shop) -> object:
        deliver_orders(shop, content, "jsonl", **files)
        return shop.silver("order_id")

    return Input(name, deliver, expected)


_LINES = [
    _json_lines("JSON duplicate key", _KEPT + _TWICE, Refused(".jsonl", "line 2", "'amount'")),
    _json_lines("JSON duplicate key in quarantine", _KEPT + _TWICE, Quarantined("unreadable", ["b"]), unreadable_rows="quarantine"),
    _json_lines("JSON line that is cut off", _KEPT + json_line(JSON_ORDER)[:30], Refused(".jsonl", "line 2")),
    _json_lines("JSON line that is cut off in quarantine", _KEPT + json_line(JSON_ORDER)[:30], Quarantined("unreadable", ["b"]), unreadable_rows="quarantine"),
    _json_lines("JSON array in a line", _KEPT + "[1, 2]\n", Refused(".jsonl", "line 2", "object")),
    _json_lines("JSON two objects in a line", _KEPT + _KEPT.strip() + _KEPT, Refused(".jsonl", "line 2")),
    _json_lines("JSON half a surrogate", _KEPT + json_line(JSON_ORDER | {"note": r'"\ud800"'}), Refused(".jsonl", "line 2")),
    _json_lines("JSON with byte-order mark and blank lines", "\ufeff" + _KEPT + "\n\n", Right(["b"])),
    _json_lines("JSON without a required key", _KEPT + json_line({"order_id": '"a"'}), Quarantined("required:customer_id", ["b"])),
]  # fmt: skip

_PARQUET = [
    ("Parquet sum of doubles", "amount", pa.array([36.900000000000006]), "36.9000"),
    ("Parquet float32", "amount", pa.array([0.1], pa.float32()), "0.1000"),
    ("Parquet decimal with ten places", "amount", pa.array([Decimal("1.2345678901")], pa.decimal128(38, 10)), "type:amount:digits"),
    ("Parquet decimal with needless places", "amount", pa.array([Decimal("12.5")], pa.decimal128(38, 10)), "12.5000"),
    ("Parquet NaN", "score", pa.array([float("nan")]), None),
    ("Parquet infinity", "score", pa.array([float("-inf")]), "type:score:infinite"),
    ("Parquet NaN as a required id", "customer_id", pa.array([float("nan")]), "required:customer_id"),
    ("Parquet int64 past a double in a text", "note", pa.array([9007199254740993]), "9007199254740993"),
    ("Parquet uint64", "qty", pa.array([2**64 - 1], pa.uint64()), "type:qty:range"),
    ("Parquet double as an integer", "qty", pa.array([7.0]), "7"),
    ("Parquet column without a type", "note", pa.nulls(1), None),
    ("Parquet dictionary", "note", pa.array(["x"]).dictionary_encode(), "x"),
    ("Parquet boolean", "gift", pa.array([True]), "True"),
    ("Parquet date64", "due", pa.array([dt.date(2026, 3, 5)], pa.date64()), "2026-03-05"),
    ("Parquet date in the year 9999", "due", pa.array([dt.date(9999, 12, 31)]), "type:due:year"),
    ("Parquet date in the year 1", "due", pa.array([dt.date(1, 1, 1)]), "type:due:year"),
]  # fmt: skip

INPUTS = [
    *(csv_cell(*item) for item in _CSV),
    *(csv_cell(name, column, text, expected, **more) for name, column, text, expected, more in _CSV_SETTINGS),
    *(json_cell(*item) for item in _JSON),
    *_LINES,
    *(parquet_cell(*item) for item in _PARQUET),
]
