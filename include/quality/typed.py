"""From bronze's text to typed rows, each with the first rule of form that it breaks, or none."""

from __future__ import annotations

import ibis
from ibis import _

from include.projects import Source
from include.quality.suite import ROW_ID
from include.sources.bronze import FILE, ROW

RULE = "_rule"
"""The rule of form that a row breaks; null when it breaks none."""

_TYPES = {
    "string": "string",
    "integer": "int64",
    "number": "float64",
    "decimal": "decimal(18, 4)",
    "timestamp": "timestamp",
    "date": "date",
    "boolean": "boolean",
}


def typed_rows(source: Source, bronze: ibis.Table) -> ibis.Table:
    """Return ``bronze`` with its declared columns typed, a column ``_rule`` and a column ``_id``.

    The rules, in order: a required value is there (``required:column``), every value is of its type
    (``type:column``), an event does not happen after the day that it was delivered for (``after_day:column``), and a
    key appears once in a day's delivery (``duplicate_key``; the first row is kept).

    Args:
        source: The source's configuration.
        bronze: Its bronze rows: text columns, ``_file``, ``_row`` and ``dt``.
    """
    text = {name: _trimmed(bronze[name]) for name in source.columns}
    typed = {name: _cast(text[name], column.type) for name, column in source.columns.items()}
    broken = [(text[name].isnull(), f"required:{name}") for name, column in source.columns.items() if column.required]
    broken += [(text[name].notnull() & typed[name].isnull(), f"type:{name}") for name in source.columns]
    if source.event_time:
        after = typed[source.event_time].cast("date") > bronze["dt"]
        broken.append((after.fill_null(False), f"after_day:{source.event_time}"))
    rule = ibis.cases(*broken, else_=ibis.null("string"))
    rows = bronze.select(**typed, **{FILE: _[FILE], ROW: _[ROW], "dt": _["dt"], RULE: rule})
    same_key = ibis.window(group_by=["dt", *source.key, rows[RULE].isnull()], order_by=[rows[FILE], rows[ROW]])
    again = rows[RULE].isnull() & (ibis.row_number().over(same_key) > 0)
    rows = rows.mutate(**{RULE: again.ifelse("duplicate_key", rows[RULE])})
    return rows.mutate(**{ROW_ID: ibis.row_number().over(order_by=[rows["dt"], rows[FILE], rows[ROW]])})


def _trimmed(column: ibis.expr.types.StringColumn) -> ibis.expr.types.StringColumn:
    return column.strip().nullif("")


def _cast(text: ibis.expr.types.StringColumn, kind: str) -> ibis.expr.types.Column:
    if kind == "string":
        return text
    if kind == "integer":
        # A cast alone would round 5.4 to 5.
        text = text.re_search(r"^[+-]?[0-9]+(\.0+)?$").ifelse(text, ibis.null("string"))
    return text.try_cast(_TYPES[kind])
