"""From bronze's text to typed rows, and the rules of form: what a row must be before its values are judged."""

from __future__ import annotations

import ibis
from ibis import _
from ibis.expr.types import BooleanValue

from include.projects import Source
from include.sources.bronze_tables import FILE, ROW
from include.sources.column_types import trimmed, typed_value

RULE = "_rule"
"""The rule of form that a row breaks; null when it breaks none."""

DUPLICATE, DUPLICATE_EARLIER = "duplicate_key", "duplicate_key_earlier"


def typed_rows(source: Source, bronze: ibis.Table) -> ibis.Table:
    """Return ``bronze`` with its declared columns typed, ``_file``, ``_row``, ``dt`` and ``_rule``.

    The rules, in order: a required value is there (``required:column``; a key's always is), every value is of its type
    (``type:column``), and an event does not happen after the day that it was delivered for (``after_day:column``).

    Args:
        source: The source's configuration.
        bronze: Its bronze rows: text columns, ``_file``, ``_row`` and ``dt``.
    """
    typed = {name: typed_column(source, bronze, name) for name in source.columns}
    rule = ibis.cases(*_broken(source, bronze, typed), else_=ibis.null("string"))
    return bronze.select(**typed, **{FILE: _[FILE], ROW: _[ROW], "dt": _["dt"], RULE: rule})


def typed_column(source: Source, bronze: ibis.Table, name: str) -> ibis.expr.types.Column:
    """Return one declared column of ``bronze`` in its type; null where the text is no such value."""
    return typed_value(trimmed(bronze[name]), source.columns[name].type)


def form_rules(source: Source) -> list[str]:
    """Return the rules of form that ``source`` has beside those on single columns."""
    rules = [DUPLICATE]
    if source.event_time:
        rules.append(f"after_day:{source.event_time}")
    if source.deduplicate_days:
        rules.append(DUPLICATE_EARLIER)
    return rules


def in_plain(source: Source, rule: str) -> str:
    """Return what a rule of form asks for, in words."""
    kind, _, column = rule.partition(":")
    if kind == "type":
        return f"empty, or a {source.columns[column].type}"
    return {
        "required": "never empty",
        "after_day": "not after the day of the delivery",
        DUPLICATE: f"{', '.join(source.key)}: once in a day's delivery",
        DUPLICATE_EARLIER: f"{', '.join(source.key)}: not within {source.deduplicate_days} days before",
    }[kind]


def same_day_duplicates(source: Source, rows: ibis.Table) -> ibis.Table:
    """Return ``dt, _file, _row, rule`` of the rows whose key another row of that day's delivery has.

    The first row of a key stays; of ``changes`` the latest one, since that is the one in force when the day closes.

    Args:
        source: The source's configuration.
        rows: Typed rows that break no rule of their own.
    """
    place = [rows[FILE], rows[ROW]]
    if source.kind == "changes":
        place = [rows[source.event_time].desc(), rows[FILE].desc(), rows[ROW].desc()]
    keys = ["dt", *source.key]
    repeated = rows.group_by(keys).having(_.count() > 1).agg()
    candidates = rows.semi_join(repeated, keys)
    number = ibis.row_number().over(ibis.window(group_by=keys, order_by=place))
    again = candidates.mutate(number=number).filter(_["number"] > 0)
    return again.select("dt", FILE, ROW, rule=ibis.literal(DUPLICATE))


def earlier_duplicates(source: Source, rows: ibis.Table, earlier: ibis.Table) -> ibis.Table:
    """Return ``dt, _file, _row, rule`` of the rows whose key was delivered within ``deduplicate_days`` before.

    Args:
        source: The source's configuration.
        rows: Typed rows that break no rule of their own.
        earlier: ``dt`` and the keys of sound rows of the days before, and of the same days.
    """
    before = earlier.select(before=earlier["dt"], **{name: earlier[name] for name in source.key})
    span = rows["dt"] - before["before"]
    known = rows.semi_join(before, [*source.key, before["before"] < rows["dt"], span <= source.deduplicate_days])
    return known.select("dt", FILE, ROW, rule=ibis.literal(DUPLICATE_EARLIER))


def _broken(
    source: Source, bronze: ibis.Table, typed: dict[str, ibis.expr.types.Column]
) -> list[tuple[BooleanValue, str]]:
    text = {name: trimmed(bronze[name]) for name in source.columns}
    needed = [name for name, column in source.columns.items() if column.required or name in source.key]
    broken = [(text[name].isnull(), f"required:{name}") for name in needed]
    broken += [(text[name].notnull() & typed[name].isnull(), f"type:{name}") for name in source.columns]
    if source.event_time:
        after = typed[source.event_time].cast("date") > bronze["dt"]
        broken.append((after.fill_null(False), f"after_day:{source.event_time}"))
    return broken
