"""What a text of bronze means: the one reading of it that the audit, and silver, agree on."""

from __future__ import annotations

import ibis
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


def trimmed(column: StringColumn) -> StringColumn:
    """Return the text without spaces around it; an empty one is no value."""
    return column.strip().nullif("")


def typed_value(text: StringColumn, kind: ColumnType) -> Column:
    """Return the value that a trimmed text has as ``kind``; none when it cannot be read as that."""
    if kind == "string":
        return text
    if kind == "integer":
        # A cast alone would round 5.4 to 5.
        text = text.re_search(r"^[+-]?[0-9]+(\.0+)?$").ifelse(text, ibis.null("string"))
    return text.try_cast(ENGINE_TYPES[kind])
