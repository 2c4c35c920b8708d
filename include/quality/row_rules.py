"""Typed rows from bronze's text, and the built-in rules that every row must satisfy before the expectations run."""

from __future__ import annotations

import ibis
from ibis import _
from ibis.expr.types import BooleanValue

from include.projects import Source
from include.sources.bronze_tables import FILE, ROW
from include.sources.column_types import trimmed, typed_value

RULE = "_rule"
"""The built-in rule that a row violates, or null."""

DUPLICATE, DUPLICATE_EARLIER = "duplicate_key", "duplicate_key_earlier"


def typed_rows(source: Source, bronze: ibis.Table) -> ibis.Table:
    """Return the declared columns of ``bronze`` with their types, and ``_file``, ``_row``, ``dt`` and ``_rule``.

    The rules, in this order:

    - ``required:column``: a required value or a key value is not empty.
    - ``type:column``: a value is of the declared type.
    - ``after_day:column``: an event is not later than the day of its delivery.

    Args:
        source: The source's configuration.
        bronze: Its bronze rows, with text columns, ``_file``, ``_row`` and ``dt``.
    """
    typed = {name: typed_column(source, bronze, name) for name in source.columns}
    rule = ibis.cases(*_violations(source, bronze, typed), else_=ibis.null("string"))
    return bronze.select(**typed, **{FILE: _[FILE], ROW: _[ROW], "dt": _["dt"], RULE: rule})


def typed_column(source: Source, bronze: ibis.Table, name: str) -> ibis.expr.types.Column:
    """Return one column of ``bronze`` with its declared type; a text that is not of this type becomes null.

    Args:
        source: The source's configuration.
        bronze: Its bronze rows.
        name: The column.
    """
    return typed_value(trimmed(bronze[name]), source.columns[name].type)


def builtin_rules(source: Source) -> list[str]:
    """Return the built-in rules of ``source`` except the rules ``required`` and ``type`` of single columns."""
    rules = [DUPLICATE]
    if source.event_time:
        rules.append(f"after_day:{source.event_time}")
    if source.deduplicate_days:
        rules.append(DUPLICATE_EARLIER)
    return rules


def describe_rule(source: Source, rule: str) -> str:
    """Return the description of a built-in rule.

    Args:
        source: The source's configuration.
        rule: The rule.
    """
    kind, _, column = rule.partition(":")
    if kind == "type":
        return f"empty, or of type {source.columns[column].type}"
    return {
        "required": "never empty",
        "after_day": "not after the day of the delivery",
        DUPLICATE: f"{', '.join(source.key)}: unique within the delivery of a day",
        DUPLICATE_EARLIER: f"{', '.join(source.key)}: not delivered in the {source.deduplicate_days} days before",
    }[kind]


def same_day_duplicates(source: Source, rows: ibis.Table) -> ibis.Table:
    """Return ``dt, _file, _row, rule`` of the rows with a key that is repeated in the delivery of their day.

    The first row of a key is kept; of ``changes`` the latest row is kept, which is in force at the end of the day.

    Args:
        source: The source's configuration.
        rows: Typed rows that violate no other built-in rule.
    """
    place = [rows[FILE], rows[ROW]]
    if source.kind == "changes":
        place = [rows[source.event_time].desc(), rows[FILE].desc(), rows[ROW].desc()]
    keys = ["dt", *source.key]
    repeated = rows.group_by(keys).having(_.count() > 1).agg()
    candidates = rows.semi_join(repeated, keys)
    number = ibis.row_number().over(ibis.window(group_by=keys, order_by=place))
    repeats = candidates.mutate(number=number).filter(_["number"] > 0)
    return repeats.select("dt", FILE, ROW, rule=ibis.literal(DUPLICATE))


def earlier_duplicates(source: Source, rows: ibis.Table, earlier: ibis.Table) -> ibis.Table:
    """Return ``dt, _file, _row, rule`` of the rows with a key of the last ``deduplicate_days`` days.

    Args:
        source: The source's configuration.
        rows: Typed rows that violate no other built-in rule.
        earlier: ``dt`` and the keys of the valid rows of the earlier days and of the same days.
    """
    before = earlier.select(before=earlier["dt"], **{name: earlier[name] for name in source.key})
    span = rows["dt"] - before["before"]
    known = rows.semi_join(before, [*source.key, before["before"] < rows["dt"], span <= source.deduplicate_days])
    return known.select("dt", FILE, ROW, rule=ibis.literal(DUPLICATE_EARLIER))


def _violations(
    source: Source, bronze: ibis.Table, typed: dict[str, ibis.expr.types.Column]
) -> list[tuple[BooleanValue, str]]:
    text = {name: trimmed(bronze[name]) for name in source.columns}
    needed = [name for name, column in source.columns.items() if column.required or name in source.key]
    violations = [(text[name].isnull(), f"required:{name}") for name in needed]
    violations += [(text[name].notnull() & typed[name].isnull(), f"type:{name}") for name in source.columns]
    if source.event_time:
        after = typed[source.event_time].cast("date") > bronze["dt"]
        violations.append((after.fill_null(False), f"after_day:{source.event_time}"))
    return violations
