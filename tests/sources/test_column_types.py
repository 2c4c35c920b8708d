"""The grammar of each column type: exact values, refusals with their reason, and instants."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import ibis
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.lake import connect
from include.projects import Source
from include.projects.sources import ColumnType
from include.sources.column_types import day_of, refusal_reason, trimmed, typed_value

BERLIN, NEW_YORK, TOKYO = "Europe/Berlin", "America/New_York", "Asia/Tokyo"
INSTANTS = st.datetimes(*(dt.datetime.fromisoformat(day) for day in ("1970-01-02", "2069-12-30")))


def source(**settings: Any) -> Source:
    files = {"format": "csv", "path": "x/{day}.csv"} | settings.pop("files", {})
    columns = {"key": {"type": "string"}}
    fixed = {"description": "A.", "owner": "a", "kind": "snapshot", "files": files, "key": ["key"], "columns": columns}
    return Source.model_validate(fixed | settings)


def read(kind: ColumnType, texts: list[str], **settings: Any) -> list[Any]:
    """Return the value of each text, or the refusal: ``type``, or ``type:`` and the reason; None means no value."""
    of = source(**settings)
    rows = ibis.memtable(pa.table({"at": range(len(texts)), "text": pa.array(texts, pa.string())}))
    rows = rows.mutate(text=trimmed(rows["text"], of))
    values = rows.select(
        "at", "text", value=typed_value(rows["text"], kind, of), reason=refusal_reason(rows["text"], kind, of)
    )
    found = connect().to_pyarrow(values.order_by("at")).to_pylist()
    return [
        row["value"]
        if row["text"] is None or row["value"] is not None
        else ":".join(filter(None, ["type", row["reason"]]))
        for row in found
    ]


def moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


@pytest.mark.parametrize("kind", ["string", "integer", "number", "decimal", "boolean", "date", "timestamp"])
def test_blanks_and_null_tokens_are_no_value(kind: ColumnType) -> None:
    blanks = ["", " ", "\t\r\n", "\u00a0", "\ufeff", "\u200b \u3000"]
    tokens = ["NULL", "null", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NaT", "None", "\\N", " NA\u00a0"]
    assert read(kind, blanks + tokens) == [None] * len(blanks + tokens)


def test_noise_of_binary_arithmetic_is_zero() -> None:
    noise = ["2.220446049250313e-16", "-1.4210854715202004e-14", "9e-10", "1E-300"]
    assert read("decimal", [*noise, "1e-9", "1e-5", "1e3"]) == [0] * 4 + ["type"] * 3


def test_null_tokens_are_declared() -> None:
    assert read("string", ["NA", "-", "Na", ""], null_tokens=["-"]) == ["NA", None, "Na", None]


@given(st.lists(st.tuples(*[st.text(" \t\n\u00a0\u2009\u3000\u200b\ufeff", max_size=3)] * 2), min_size=1))
@settings(deadline=None, max_examples=30)
def test_blanks_around_a_text_do_not_change_it(around: list[tuple[str, str]]) -> None:
    assert set(read("string", [f"{left}a b{right}" for left, right in around])) == {"a b"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("7", 7), ("007", 7), ("+7", 7), ("-7", -7), ("7.00", 7), ("9007199254740993.0", 9007199254740993)],
        *[("9223372036854775807", 2**63 - 1), ("9223372036854775808", "type:range"), ("-inf", "type:infinite")],
        *[(text, "type") for text in ("7.5", ".5", "1_000", "1e3", "1,000", "7.", "\u0667", "0x7", "true", "7 8")],
    ],
)
def test_integer(text: str, value: Any) -> None:
    assert read("integer", [text]) == [value]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("1.5", 1.5), ("-.5", -0.5), ("5.", 5.0), ("1e-5", 1e-5), ("1E+3", 1e3), ("12.34567", 12.34567)],
        *[("1e400", "type:range"), ("infinity", "type:infinite"), ("-Inf", "type:infinite")],
        *[(text, "type") for text in ("1_000", "1,5", "1e", "e5", ".", "1.2.3", "$5", "5%")],
    ],
)
def test_number(text: str, value: Any) -> None:
    assert read("number", [text]) == [value]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("1.5", Decimal("1.5")), ("+.5", Decimal("0.5")), ("12.340000000", Decimal("12.34")), ("5.", Decimal(5))],
        *[("99999999999999.9999", Decimal("99999999999999.9999")), ("100000000000000", "type:range")],
        *[("12.34567", "type:digits"), ("0.00005", "type:digits"), ("123456789012.34567", "type:digits")],
        *[("36.900000000000006", Decimal("36.9")), ("0.30000000000000004", Decimal("0.3"))],
        *[("1.2345600000000001", "type:digits"), ("Infinity", "type:infinite")],
        *[(text, "type") for text in ("1e-5", "1_000", "1,000.00", "1,5", "-", ".", "--5")],
    ],
)
def test_decimal(text: str, value: Any) -> None:
    assert read("decimal", [text]) == [value]


@given(st.lists(st.from_regex(r"[+-]?[0-9]{0,20}(\.[0-9]{0,20})?", fullmatch=True), min_size=1, max_size=30))
@settings(deadline=None, max_examples=60)
def test_a_decimal_keeps_its_exact_value_or_is_refused_with_the_reason(texts: list[str]) -> None:
    for text, value in zip(texts, read("decimal", texts), strict=True):
        if not re.search("[0-9]", text):
            assert value == ("type" if text else None)
            continue
        exact = Decimal(text)
        if exact == round(exact, 4):
            assert value == (exact if abs(exact) < 10**14 else "type:range")
        elif isinstance(value, Decimal):
            assert len(re.sub(r"^[+-]?[0.]*|\.", "", text)) in (16, 17), "only the shortest form of a double is rounded"
            assert abs(value - exact) <= abs(exact) * Decimal("5e-15")
        else:
            assert value == ("type:digits" if abs(exact) < 10**14 else "type:range")


@given(st.lists(st.integers(-(10**10), 10**10), min_size=1, max_size=30))
@settings(deadline=None, max_examples=30)
def test_a_decimal_that_went_through_sums_of_doubles_is_read_as_written(cents: list[int]) -> None:
    doubles = [repr(cent / 100 + 0.1 - 0.1) for cent in cents if abs(cent) > 1]
    assert read("decimal", doubles) == [Decimal(cent).scaleb(-2) for cent in cents if abs(cent) > 1]


@pytest.mark.parametrize("kind", ["integer", "number", "decimal"])
def test_decimal_separator_is_declared(kind: ColumnType) -> None:
    values = read(kind, ["5,0", "-5,000", "5.0", "1.000,0"], files={"decimal_separator": ","})
    assert values == [5, -5, "type", "type"]


def test_boolean() -> None:
    assert read("boolean", ["true", "T", "YES", "y", "1", "1.0"]) == [True] * 6
    assert read("boolean", ["False", "f", "no", "N", "0", "0.0"]) == [False] * 6
    assert read("boolean", ["2", "on", "wahr", "10"]) == ["type"] * 4


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[
            (f"2026-03-01{time}", dt.date(2026, 3, 1))
            for time in ("", "T00:00:00", " 00:00", " 00:00:00.000", " 00:00Z")
        ],
        *[(f"2026-03-01{time}", "type:time") for time in (" 10:00", "T00:00:00.001", "T00:00:00+01:00", " 23:00-05")],
        *[(text, "type:infinite") for text in ("infinity", "-infinity", "inf")],
        *[(text, "type:year") for text in ("1899-12-31", "2101-01-01", "10000-01-01", "0044-03-15 BC", "-0044-03-15")],
        *[
            (text, "type")
            for text in ("01-03-26", "2026-02-30", "2026-3-1", "01/03/2026", "20260301", "epoch", "46082")
        ],
    ],
)
def test_date(text: str, value: Any) -> None:
    assert read("date", [text]) == [value]


def test_a_date_with_an_offset_is_midnight_in_the_zone_of_the_source() -> None:
    texts = ["2026-02-28 23:00:00+00", "2026-03-01T00:00:00+01:00", "2026-03-01T00:00:00Z"]
    assert read("date", texts, timezone=BERLIN) == [dt.date(2026, 3, 1)] * 2 + ["type:time"]


@pytest.mark.parametrize(("order", "day"), [("dmy", (3, 1)), ("mdy", (1, 3))])
def test_date_order_is_declared(order: str, day: tuple[int, int]) -> None:
    texts = ["1/3/2026", "01.03.2026", "1-03-2026", "01/03/2026 00:00"]
    assert read("date", texts, date_order=order) == [dt.date(2026, *day)] * 4
    assert read("timestamp", ["1/3/2026 10:30"], date_order=order) == [
        dt.datetime.combine(dt.date(2026, *day), dt.time(10, 30))
    ]
    assert read("date", ["2026-12-31"], date_order=order) == [dt.date(2026, 12, 31)]
    assert read("date", ["1/3/26", "01/03/20265", "2026-003-01", "1/3/1800"], date_order=order) == [
        *["type"] * 3,
        "type:year",
    ]


def test_impossible_day_of_the_declared_order_is_refused() -> None:
    assert read("date", ["13/01/2026", "01/13/2026"], date_order="mdy") == ["type", dt.date(2026, 1, 13)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2026-03-01", "2026-03-01 00:00"),
        ("2026-03-01T10:20", "2026-03-01 10:20"),
        ("2026-03-01 10:20:30.123456789", "2026-03-01 10:20:30.123456"),
        *[(f"2026-02-28T19:30:00{offset}", "2026-03-01 00:30") for offset in ("-05:00", "-0500", "-05", " -05:00")],
        *[(f"2026-03-01 00:30{zone}", "2026-03-01 00:30") for zone in ("Z", "+00", " UTC", " GMT", "Z[Asia/Tokyo]")],
        *[(f"2026-07-01T12:00{zone}", "2026-07-01 10:00") for zone in (" Europe/Berlin", "+02:00[Europe/Berlin]")],
        *[
            (f"2026-03-01 10:00{zone}", "type")
            for zone in (" CST", " EST", " Mars/Base", "+99:00", " PM", ":60", "[UTC]")
        ],
        *[
            (text, "type")
            for text in ("01-03-26 10:00:00", "2026-03-01 24:00", "2026-13-01 10:00", "10:00", "1772323200")
        ],
        *[(text, "type:year") for text in ("0026-03-01 10:00", "294247-01-10 04:00:54", "0044-03-15 10:00:00 BC")],
        *[(text, "type:infinite") for text in ("infinity", "-infinity")],
    ],
)
def test_timestamp(text: str, value: str) -> None:
    assert read("timestamp", [text]) == [value if value.startswith("type") else moment(value)]


@pytest.mark.parametrize(
    ("zone", "local", "instant"),
    [
        (TOKYO, "2026-03-01 08:59", "2026-02-28 23:59"),
        (BERLIN, "2026-03-29 01:59", "2026-03-29 00:59"),
        (BERLIN, "2026-03-29 02:30", "2026-03-29 01:30"),  # does not occur: the offset before the change
        (BERLIN, "2026-03-29 03:00", "2026-03-29 01:00"),
        (BERLIN, "2026-10-25 02:30", "2026-10-25 01:30"),  # occurs twice: the later instant
        (NEW_YORK, "2026-03-08 02:30", "2026-03-08 07:30"),
        (NEW_YORK, "2026-11-01 01:30", "2026-11-01 06:30"),
        (NEW_YORK, "2026-11-01 02:00", "2026-11-01 07:00"),
    ],
)
def test_a_timestamp_without_an_offset_is_in_the_zone_of_the_source(zone: str, local: str, instant: str) -> None:
    assert read("timestamp", [local, f"{instant}Z"], timezone=zone) == [moment(instant)] * 2


def test_years_are_declared() -> None:
    texts = ["1899-12-31", "9999-12-31 23:59:59", "0000-12-31", "9999-12-31 23:30:00-05:00", "0001-01-01 00:00+05"]
    values = read("timestamp", texts, years=(1, 9999))
    assert values == [moment("1899-12-31"), moment("9999-12-31 23:59:59"), *["type:year"] * 3]
    assert read("date", ["2026-01-01", "2025-12-31"], years=(2026, 2026)) == [dt.date(2026, 1, 1), "type:year"]


@given(
    INSTANTS,
    st.lists(st.integers(-15 * 60, 15 * 60), min_size=1, max_size=20),
    st.sampled_from([BERLIN, NEW_YORK, TOKYO]),
)
@settings(deadline=None, max_examples=60)
def test_an_instant_is_the_same_with_every_offset(instant: dt.datetime, minutes: list[int], zone: str) -> None:
    aware = instant.replace(tzinfo=dt.UTC)
    offsets = [dt.timezone(dt.timedelta(minutes=minute)) for minute in minutes]
    texts = [aware.astimezone(offset).isoformat(sep) for offset in offsets for sep in ("T", " ")]
    assert set(read("timestamp", texts, timezone=zone)) == {instant}


@given(
    st.lists(INSTANTS, min_size=1),
    st.sampled_from([BERLIN, NEW_YORK, TOKYO, "UTC", "Pacific/Apia"]),
)
@settings(deadline=None, max_examples=60)
def test_the_day_of_an_instant_is_the_local_day(instants: list[dt.datetime], zone: str) -> None:
    rows = ibis.memtable(pa.table({"at": range(len(instants)), "instant": pa.array(instants, pa.timestamp("us"))}))
    days = connect().to_pyarrow(rows.select("at", day=day_of(rows["instant"], zone)).order_by("at"))["day"].to_pylist()
    local = [instant.replace(tzinfo=dt.UTC).astimezone(ZoneInfo(zone)).date() for instant in instants]
    assert days == local


# Many texts in few examples, since each example compiles its queries.
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=100, max_size=200))
@settings(
    deadline=None, max_examples=6, suppress_health_check=[HealthCheck.large_base_example, HealthCheck.data_too_large]
)
def test_any_text_has_a_value_or_a_refusal(texts: list[str]) -> None:
    for kind in ("string", "integer", "number", "decimal", "boolean", "date", "timestamp"):
        for settings_ in ({}, {"timezone": BERLIN, "date_order": "dmy"}):
            assert len(read(kind, texts, **settings_)) == len(texts)
