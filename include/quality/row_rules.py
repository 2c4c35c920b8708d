"""Typed rows from bronze's text, and the built-in rules that every row must satisfy before the expectations run."""

from __future__ import annotations

from collections.abc import Mapping

import ibis
from ibis import _
from ibis.expr.types import BooleanValue, StringValue

from include.lake import Engine
from include.plurals import counted
from include.projects import Source
from include.sources.bronze_tables import FILE, ROW, UNDECLARED, UNREADABLE_START
from include.sources.column_types import day_of, refusal_reason, trimmed, typed_value

RULE = "_rule"
"""The built-in rule that a row violates, or null."""

CANNOT_BE_READ, DUPLICATE, DUPLICATE_EARLIER = "unreadable", "duplicate_key", "duplicate_key_earlier"

_REASONS = {
    "digits": " with at most four decimal places",
    "range": " and within the range of this type",
    "year": ", from {first} to {last}",
    "time": " without a time of day in {zone}",
    "infinite": " and finite",
}


def typed_rows(source: Source, engine: Engine, bronze: ibis.Table, zone: str) -> ibis.Table:
    """Return the declared columns of ``bronze`` with their types, and ``_file``, ``_row``, ``dt`` and ``_rule``.

    The rules, in this order:

    - ``unreadable``: the row of the file could be read.
    - ``required:column``: a required value or a key value is not empty.
    - ``type:column`` and ``type:column:reason``: a value is of the declared type and within its bounds.
    - ``after_day:column``: an event is not later than the day of its delivery.

    Args:
        source: The source's configuration.
        engine: The engine.
        bronze: Its bronze rows, with text columns, ``_undeclared``, ``_file``, ``_row`` and ``dt``.
        zone: The time zone of the project's days.
    """
    return engine.map_rows(bronze, lambda rows: _typed(source, rows, zone))


def typed_texts(source: Source, engine: Engine, bronze: ibis.Table, name: str) -> ibis.Table:
    """Return the place of each row of ``bronze`` and ``value``: a column with its declared type, as text.

    A value that is not of the type becomes null.

    Args:
        source: The source's configuration.
        engine: The engine.
        bronze: Its bronze rows.
        name: The column.
    """

    def value(rows: ibis.Table) -> ibis.Table:
        typed = typed_value(trimmed(rows[name], source), source.columns[name].type, source)
        return rows.select("dt", FILE, ROW, value=typed.cast("string"))

    return engine.map_rows(bronze, value)


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
        column, _, reason = (column, "", "") if column in source.columns else column.rpartition(":")
        first, last = source.years
        bounds = _REASONS.get(reason, "").format(first=first, last=last, zone=source.timezone)
        return f"empty, or of type {source.columns[column].type}{bounds}"
    return {
        CANNOT_BE_READ: "a row that can be read",
        "required": "never empty",
        "after_day": "not after the day of the delivery, in the time zone of the project",
        DUPLICATE: f"{', '.join(source.key)}: unique within the delivery of a day",
        DUPLICATE_EARLIER: f"{', '.join(source.key)}: not delivered in the "
        f"{counted(source.deduplicate_days, 'day')} before",
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
    repeats = candidates.mutate(_number=number).filter(_["_number"] > 0)
    return repeats.select("dt", FILE, ROW, rule=ibis.literal(DUPLICATE))


def earlier_duplicates(source: Source, rows: ibis.Table, earlier: ibis.Table) -> ibis.Table:
    """Return ``dt, _file, _row, rule`` of the rows with a key of the last ``deduplicate_days`` days.

    Args:
        source: The source's configuration.
        rows: Typed rows that violate no other built-in rule.
        earlier: ``dt`` and the keys of the valid rows of the earlier days and of the same days.
    """
    before = earlier.select(_before=earlier["dt"], **{name: earlier[name] for name in source.key})
    age = rows["dt"].delta(before["_before"], unit="day")
    known = rows.semi_join(before, [*source.key, age.between(1, source.deduplicate_days)])
    return known.select("dt", FILE, ROW, rule=ibis.literal(DUPLICATE_EARLIER))


def _violations(
    source: Source, rows: ibis.Table, typed: Mapping[str, str], zone: str
) -> list[tuple[BooleanValue, str | StringValue]]:
    """Return the conditions of the rules and their names.

    Args:
        source: The source's configuration.
        rows: The trimmed text of each column and its typed value.
        typed: The name of the column with the typed values, for each column.
        zone: The time zone of the project's days.
    """
    needed = [name for name, column in source.columns.items() if column.required or name in source.key]
    violations: list[tuple[BooleanValue, str | StringValue]] = [
        (rows[UNDECLARED].startswith(UNREADABLE_START).fill_null(False), CANNOT_BE_READ)
    ]
    violations += [(rows[name].isnull(), f"required:{name}") for name in needed]
    for name, column in source.columns.items():
        with_reason = f"type:{name}:" + refusal_reason(rows[name], column.type, source)
        is_refused = rows[name].notnull() & rows[typed[name]].isnull()
        violations.append((is_refused, with_reason.fill_null(f"type:{name}")))
    if source.event_time:
        after = day_of(rows[typed[source.event_time]], zone) > rows["dt"]
        violations.append((after.fill_null(False), f"after_day:{source.event_time}"))
    return violations


def _typed(source: Source, bronze: ibis.Table, zone: str) -> ibis.Table:
    # The steps are separate subqueries, so that each text is trimmed and converted once.
    texts = bronze.mutate(**{name: trimmed(bronze[name], source) for name in source.columns})
    names = {name: f"_typed_{number}" for number, name in enumerate(source.columns)}
    kinds = {name: column.type for name, column in source.columns.items()}
    typed = texts.mutate(**{names[name]: typed_value(texts[name], kind, source) for name, kind in kinds.items()})
    rule = ibis.cases(*_violations(source, typed, names, zone), else_=ibis.null("string"))
    values = {name: typed[names[name]] for name in source.columns}
    return typed.select(**values, **{FILE: _[FILE], ROW: _[ROW], "dt": _["dt"], RULE: rule})
