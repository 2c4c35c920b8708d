"""Schema drift: compare the schema of each delivery with the delivery before it, and the first with the previous audit.

The comparison of a range of days has the same result as separate comparisons of its days.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace

from include.sources.audit.results import Change, ColumnAudit, Schema
from include.sources.column_types import UNTYPED

UNREADABLE_SHARE = 0.5
"""A larger share of values that cannot be converted to the declared type counts as a changed type, not as bad rows."""

MINIMUM_VALUES = 20
"""Minimum number of values from which a type of a text format is inferred."""

_NUMERIC = {"integer", "number", "decimal"}


def compare_deliveries(
    deliveries: Mapping[dt.date, Schema], before: Schema | None, day: dt.date | None
) -> tuple[list[Change], Schema | None]:
    """Compare each delivery of a source with the one before it.

    Args:
        deliveries: The schemas of the deliveries by day, in their order.
        before: The schema in the previous audit; None without one.
        day: The day of the previous audit.

    Returns:
        The changes, and the schema for the next comparison: the columns of the last delivery, and the columns and
        types of earlier deliveries that it does not contain.
    """
    changes: list[Change] = []
    for delivered, schema in deliveries.items():
        now = schema if before is None else with_known_columns(schema, before)
        if before is not None:
            found = compare_schemas(now, before)
            changes += [replace(change, day=delivered, compared_with=day) for change in found]
        before, day = now, delivered
    return changes, before


def compare_schemas(now: Schema, before: Schema) -> list[Change]:
    """Return the differences between two schemas of a source.

    A new column and another column order are harmless. A missing column or a changed type is breaking if the
    column is declared, unless its declaration in sources.yaml has changed too.

    Args:
        now: The current schema.
        before: The schema before it.
    """
    missing = _missing(now, before)
    added = [name for name in _found(now) if name not in _found(before)]
    changes = [Change(name, f"is missing{_possible_new_names(added)}", breaking=True) for name in missing]
    changes += [Change(name, "is missing; it is not declared") for name in _found(before) if now.column(name) is None]
    changes += [Change(name, "is new") for name in added]
    for column in now.columns:
        known = before.column(column.name)
        if known and known.found and column.found:
            changes += _type_changes(column, known, now.format == before.format)
    return changes + _order_change(now, before)


def with_known_columns(now: Schema, before: Schema) -> Schema:
    """Take the columns and types that the current delivery does not contain from the schema before it.

    A Parquet column without values may have the null type. A line of JSON may omit a key without a value, and a file
    without lines has no keys. A required column that is missing from every line stays missing.

    Args:
        now: The current schema.
        before: The schema before it.
    """
    if now.format != before.format:
        return now
    known = {column.name: column for column in before.columns if column.found}
    if now.format != "jsonl":
        columns = [
            _with_type_of(known.get(column.name, column), column) if column.found == UNTYPED.name else column
            for column in now.columns
        ]
        return replace(now, columns=columns)
    columns = [
        column
        if column.found or (column.required and now.rows) or column.name not in known
        else _with_type_of(known[column.name], column)
        for column in now.columns
    ]
    columns += [
        _with_type_of(column, ColumnAudit(name, "")) for name, column in known.items() if now.column(name) is None
    ]
    return replace(now, columns=columns)


def confirm_type_changes(changes: list[Change], confirmed: list[Change] | None) -> list[Change]:
    """Return the changes with breaking type changes confirmed; a missing column cannot be confirmed.

    Args:
        changes: The changes.
        confirmed: The changes that an earlier audit of the same days confirmed; None to confirm all type changes.
    """
    known = None if confirmed is None else {(item.day, item.column, item.what) for item in confirmed if item.confirmed}
    return [
        replace(item, confirmed=True)
        if item.breaking
        and not item.what.startswith("is missing")
        and (known is None or (item.day, item.column, item.what) in known)
        else item
        for item in changes
    ]


def is_missing(column: ColumnAudit, source_format: str) -> bool:
    """Return whether a declared column is missing; JSON lines may omit a column that is not required.

    Args:
        column: The column.
        source_format: The format of the source.
    """
    return column.declared is not None and not column.found and (column.required or source_format != "jsonl")


def _with_type_of(known: ColumnAudit, column: ColumnAudit) -> ColumnAudit:
    return replace(column, found=known.found, family=known.family)


def _found(audit: Schema) -> list[str]:
    return [column.name for column in audit.columns if column.found]


def _missing(now: Schema, before: Schema) -> list[str]:
    return [column.name for column in now.columns if column.name in _found(before) and is_missing(column, now.format)]


def _possible_new_names(added: list[str]) -> str:
    return f"; new columns: {', '.join(added)}" if added else ""


def _type_changes(column: ColumnAudit, known: ColumnAudit, same_format: bool) -> list[Change]:
    if column.declared != known.declared:
        before, after = (item.declared or "undeclared" for item in (known, column))
        return [Change(column.name, f"changed its declared type from {before} to {after}")]
    if same_format and column.found != known.found and known.found != UNTYPED.name:
        breaking = column.declared is not None and not _is_compatible(column, known)
        return [Change(column.name, f"changed its type from {known.found} to {column.found}", breaking)]
    if _is_unreadable(column) and not _is_unreadable(known):
        share = 1 - (column.readable or 0.0)
        what = f"changed its type: {share:.0%} of its values cannot be converted to {column.declared}"
        return [Change(column.name, what, breaking=True)]
    return []


def _is_compatible(column: ColumnAudit, known: ColumnAudit) -> bool:
    families = {column.family, known.family}
    # All numbers can be converted to each other, but as text 7 and 7.0 differ.
    return len(families) == 1 or (column.declared in _NUMERIC and families <= _NUMERIC)


def _is_unreadable(column: ColumnAudit) -> bool:
    return column.readable is not None and column.values >= MINIMUM_VALUES and column.readable < 1 - UNREADABLE_SHARE


def _order_change(now: Schema, before: Schema) -> list[Change]:
    shared = [name for name in _found(now) if name in _found(before)]
    moved = [name for name in _found(before) if name in shared] != shared
    return [Change(", ".join(shared), "are in another order")] if moved and now.format != "jsonl" else []
