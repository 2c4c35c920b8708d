"""Column types: the types found in files and databases, and the conversion of bronze text to declared types.

The audit and silver convert text with the same functions, so that a value has the same meaning in both.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any, NamedTuple

import ibis
import pyarrow as pa
import sqlalchemy as sa
from ibis.expr.types import Column, StringColumn

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
    "string": lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind),
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


def trimmed(column: StringColumn) -> StringColumn:
    """Return the text without surrounding spaces; empty text becomes null."""
    return column.strip().nullif("")


def typed_value(text: StringColumn, kind: ColumnType) -> Column:
    """Convert trimmed text to a declared type; text that cannot be converted becomes null.

    Args:
        text: The trimmed text.
        kind: The declared type.
    """
    if kind == "string":
        return text
    if kind == "integer":
        # A cast alone rounds 5.4 to 5.
        text = text.re_search(r"^[+-]?[0-9]+(\.0+)?$").ifelse(text, ibis.null("string"))
    return text.try_cast(ENGINE_TYPES[kind])
