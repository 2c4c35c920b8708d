"""Column types: the types found in files and databases, and the conversion of bronze text to declared types.

The audit and silver convert text with the same functions, so that a value has the same meaning in both. Every type has
a grammar, which is checked before the engine's cast: the cast alone rounds numbers and drops time zones.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any, NamedTuple

import ibis
import pyarrow as pa
import sqlalchemy as sa
from ibis.expr.types import BooleanValue, Column, DateValue, StringColumn, TimestampValue, Value

from include.projects import Source
from include.projects.sources import ColumnType

ENGINE_TYPES: dict[ColumnType, str] = {
    "string": "string",
    "integer": "int64",
    "number": "float64",
    "decimal": "decimal(18, 4)",
    "timestamp": "timestamp",
    "date": "date",
    "boolean": "boolean",
}
"""The engine's type of each declared type."""


class FoundType(NamedTuple):
    """The type of a column in a file or table.

    Attributes:
        name: The type as the format or database names it; ``text`` for formats without types.
        family: The declared type that corresponds to it; the name in lower case if there is none.
    """

    name: str
    family: str


TEXT = FoundType("text", "string")
UNTYPED = FoundType("null", "null")
"""The Arrow type of a column without any value."""

_ARROW_FAMILIES = {
    "integer": pa.types.is_integer,
    "number": pa.types.is_floating,
    "decimal": pa.types.is_decimal,
    "timestamp": pa.types.is_timestamp,
    "date": pa.types.is_date,
    "boolean": pa.types.is_boolean,
    "string": lambda kind: kind in (pa.string(), pa.large_string(), pa.string_view()),
}
_PYTHON_FAMILIES: dict[type, str] = {
    int: "integer",
    float: "number",
    Decimal: "decimal",
    dt.datetime: "timestamp",
    dt.date: "date",
    bool: "boolean",
    str: "string",
}


def arrow_type(kind: pa.DataType) -> FoundType:
    """Return the found type of an Arrow column.

    Examples:
        >>> arrow_type(pa.int32()), arrow_type(pa.dictionary(pa.int8(), pa.string())).family
        (FoundType(name='int32', family='integer'), 'string')
    """
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    return FoundType(str(kind), next((name for name, is_of in _ARROW_FAMILIES.items() if is_of(value)), str(kind)))


def sql_type(kind: sa.types.TypeEngine[Any]) -> FoundType:
    """Return the found type of a database column.

    Examples:
        >>> sql_type(sa.Numeric(10, 2))
        FoundType(name='NUMERIC(10, 2)', family='decimal')
    """
    try:
        family = _PYTHON_FAMILIES.get(kind.python_type, str(kind).lower())
    except NotImplementedError:
        family = str(kind).lower()
    return FoundType(str(kind), family)


_BLANKS = "".join(chr(code) for code in range(0x10000) if chr(code).isspace()) + (
    "\u00ad\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\ufeff"
)
"""The characters that are removed at the ends of a text: Unicode's blanks, and characters without width."""

_TRUE, _FALSE = ("true", "t", "yes", "y", "1", "1.0"), ("false", "f", "no", "n", "0", "0.0")

_INFINITE = r"(?i)^[+-]?inf(inity)?$"
_NUMERIC = {
    "integer": r"^[+-]?[0-9]+(\.0+)?$",
    "number": r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$",
    "decimal": r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)$",
}
_FOUR_PLACES = r"^[+-]?[0-9]*(\.[0-9]{0,4}0*)?$"
_NOISE = r"^[+-]?[0-9](\.[0-9]+)?[eE]-[1-9][0-9]{1,2}$"
"""An exponent form below 1e-9, such as 2.220446049250313e-16, which binary arithmetic leaves in place of zero."""
_AT_MOST_10_DIGITS = r"^[+-]?0*[0-9]{0,10}\.[0-9]+$"
_SIGN_AND_ZEROS = r"^[+-]?[0.]*"
_LARGEST_DECIMAL = 1e14

_ISO_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_OTHER_DAY = "^([0-9]{1,2})[/.-]([0-9]{1,2})[/.-]([0-9]{4})"
_OTHER_ORDERS = {"dmy": r"\3-0\2-0\1", "mdy": r"\3-0\1-0\2"}
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?"
_OFFSET = r"Z|[+-](0[0-9]|1[0-5])(:?[0-5][0-9])?"
_ZONE = "UTC|GMT|[A-Z][A-Za-z_]+(/[A-Za-z0-9_+-]+)+"
_LOCAL = f"^{_ISO_DAY}([T ]{_TIME})?$"
_ZONED = rf"^{_ISO_DAY}[T ]{_TIME}( ?({_OFFSET})(\[[A-Za-z0-9_+/-]+\])?| ({_ZONE}))$"
_MIDNIGHT = rf"^{_ISO_DAY}([T ]00:00(:00(\.0{{1,9}})?)?)?$"
_FIRST_MOMENT, _LAST_MOMENT = ibis.timestamp("0001-01-01"), ibis.timestamp("9999-12-31 23:59:59.999999")
_FAR_YEAR = r"^([+-]?[0-9]{5,}|[+-][0-9]{4})-[0-9]{2}-[0-9]{2}|^[0-9]{4}-[0-9]{2}-[0-9]{2}.*BC"


@ibis.udf.scalar.builtin(name="trim", signature=(("string", "string"), "string"))  # type: ignore[untyped-decorator]
def _trim(text: StringColumn, characters: StringColumn) -> StringColumn:
    """Remove given characters from both ends of a text."""


@ibis.udf.scalar.builtin(name="printf", signature=(("string", "float64"), "string"))  # type: ignore[untyped-decorator]
def _printf(template: StringColumn, number: Value) -> StringColumn:
    """Format a number as C does."""


@ibis.udf.scalar.builtin(name="timezone", signature=(("string", "timestamp"), "timestamp('UTC')"))  # type: ignore[untyped-decorator]
def _to_instant(zone: StringColumn, local: TimestampValue) -> TimestampValue:
    """Return the instant of a local time in a time zone."""


@ibis.udf.scalar.builtin(name="timezone", signature=(("string", "timestamp('UTC')"), "timestamp"))  # type: ignore[untyped-decorator]
def _to_local(zone: StringColumn, instant: TimestampValue) -> TimestampValue:
    """Return the local time of an instant in a time zone."""


def trimmed(column: StringColumn, source: Source) -> StringColumn:
    """Return the text without blanks at its ends; an empty text and a text that means *no value* become null.

    Args:
        column: The text.
        source: The configuration of the source, with the texts that mean *no value*.
    """
    # trim() with given characters is slow, and few texts need it.
    text = column.re_search(f"^[{_BLANKS}]|[{_BLANKS}]$").ifelse(_trim(column, _BLANKS), column)
    return text.isin(["", *source.null_tokens]).ifelse(ibis.null("string"), text)


def typed_value(text: StringColumn, kind: ColumnType, source: Source) -> Column:
    """Convert trimmed text to a declared type; text that is not of this type, or is out of bounds, becomes null.

    A timestamp becomes a UTC instant without a time zone; text without an offset is in the time zone of the source.
    When clocks are changed, a local time that occurs twice is the later instant, and a local time that does not occur
    has the offset from before the change. A date with an offset must be midnight in the time zone of the source.

    Args:
        text: The trimmed text.
        kind: The declared type.
        source: The configuration of the source.
    """
    if kind == "string":
        return text
    if kind == "boolean":
        lower = text.lower()
        return ibis.cases((lower.isin(_TRUE), True), (lower.isin(_FALSE), False), else_=ibis.null("boolean"))
    if kind == "date":
        return _date(_iso(text, source), source)
    if kind == "timestamp":
        return _timestamp(_iso(text, source), source)
    return _number(_with_point(text, source), kind)


def refusal_reason(text: StringColumn, kind: ColumnType, source: Source) -> StringColumn:
    """Return the reason why ``typed_value`` returned null; null if the text is not of the type at all.

    - ``digits``: a decimal with more than four decimal places that are not zero.
    - ``range``: a number that is too large for its type.
    - ``year``: a year outside ``years`` of the source.
    - ``time``: a date with a time of day.
    - ``infinite``: infinity.

    Args:
        text: The trimmed text.
        kind: The declared type.
        source: The configuration of the source.
    """
    if kind in ("string", "boolean"):
        return ibis.null("string")
    reasons: list[tuple[BooleanValue, str]] = [(text.re_search(_INFINITE), "infinite")]
    if kind in ("date", "timestamp"):
        iso = _iso(text, source)
        moment = _moment(iso, source)
        out_of_bounds = moment.notnull() & ~_in_years(iso, source) if kind == "date" else moment.notnull()
        reasons += [(iso.re_search(_FAR_YEAR) | out_of_bounds, "year"), (moment.notnull(), "time")]
    else:
        number = _with_point(text, source)
        is_number = number.re_search(_NUMERIC[kind])
        if kind == "decimal":
            reasons.append((is_number & (number.try_cast("float64").abs() < _LARGEST_DECIMAL), "digits"))
        reasons.append((is_number, "range"))
    return ibis.cases(*reasons, else_=ibis.null("string"))


def day_of(value: Column, zone: str) -> DateValue:
    """Return the day of an instant in a time zone; a date is its own day.

    Args:
        value: A date, or a UTC instant without a time zone.
        zone: The time zone.
    """
    return (value if value.type().is_date() else _in_zone(value, zone)).cast("date")


def _with_point(text: StringColumn, source: Source) -> StringColumn:
    if source.decimal_separator == ".":
        return text
    return text.contains(".").ifelse(ibis.null("string"), text.replace(source.decimal_separator, "."))


def _number(text: StringColumn, kind: ColumnType) -> Column:
    value = text.try_cast(ENGINE_TYPES[kind])
    nothing = ibis.null(ENGINE_TYPES[kind])
    if kind == "decimal":
        # The shortest form of a double, such as 36.900000000000006, has 16 or 17 digits, of which 15 are exact. Only
        # with at most 10 digits before the point do the 15 digits show that the fifth decimal place is zero.
        digits = text.re_replace(_SIGN_AND_ZEROS, "").replace(".", "").length()
        rounded = _printf("%.15g", text.try_cast("float64"))
        is_double = text.re_search(_AT_MOST_10_DIGITS) & digits.isin([16, 17]) & rounded.re_search(_FOUR_PLACES)
        return ibis.cases(
            (text.re_search(_FOUR_PLACES), value),
            (is_double, rounded.try_cast(ENGINE_TYPES[kind])),
            (text.re_search(_NOISE), ibis.literal("0").cast(ENGINE_TYPES[kind])),
            else_=nothing,
        )
    value = text.re_search(_NUMERIC[kind]).ifelse(value, nothing)
    return value.isinf().ifelse(nothing, value) if kind == "number" else value


def _iso(text: StringColumn, source: Source) -> StringColumn:
    if source.date_order == "ymd":
        return text
    padded = text.re_replace(_OTHER_DAY, _OTHER_ORDERS[source.date_order])
    iso = padded.re_replace("^([0-9]{4})-0?([0-9]{2})-0?([0-9]{2})", r"\1-\2-\3")
    return text.re_search(_OTHER_DAY).ifelse(iso, text)


def _in_years(iso: StringColumn, source: Source) -> BooleanValue:
    return iso.left(4).between(*(f"{year:04}" for year in source.years))


def _date(iso: StringColumn, source: Source) -> DateValue:
    local = _in_zone(_moment(iso, source), source.timezone)
    is_midnight = (local == local.truncate("D")) & local.between(_FIRST_MOMENT, _LAST_MOMENT)
    in_years = _in_years(iso, source)
    return ibis.cases(
        (in_years & iso.re_search(_MIDNIGHT), iso.left(10).try_cast("date")),
        (in_years & iso.re_search(_ZONED) & is_midnight, local.cast("date")),
        else_=ibis.null("date"),
    )


def _timestamp(iso: StringColumn, source: Source) -> TimestampValue:
    moment = _moment(iso, source)
    # The offset can move the last hours of the year 9999 into a year that Python and Parquet readers do not know.
    in_bounds = _in_years(iso, source) & moment.between(_FIRST_MOMENT, _LAST_MOMENT)
    return in_bounds.ifelse(moment, ibis.null("timestamp"))


def _moment(iso: StringColumn, source: Source) -> TimestampValue:
    """Return the UTC instant of a date or timestamp; null if it is neither."""
    local = iso.try_cast("timestamp")
    if source.timezone != "UTC":
        local = _to_instant(source.timezone, local).cast("timestamp")
    # The engine accepts no blank before an offset, and no zone name after it.
    zoned = iso.re_replace(r" ?([Z+-][0-9:]*)(\[.*)?$", r"\1").try_cast("timestamp('UTC')").cast("timestamp")
    return ibis.cases((iso.re_search(_LOCAL), local), (iso.re_search(_ZONED), zoned), else_=ibis.null("timestamp"))


def _in_zone(instant: TimestampValue, zone: str) -> TimestampValue:
    return instant if zone == "UTC" else _to_local(zone, instant.cast("timestamp('UTC')"))
