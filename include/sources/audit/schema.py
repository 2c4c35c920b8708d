"""Whether a source's schema is still that of the audit before."""

from __future__ import annotations

import re
from dataclasses import replace

from include.sources.audit.model import Change, ColumnAudit, SourceAudit

UNREADABLE_SHARE = 0.5
"""So large a share of values that do not read as declared is no bad data, it is another type."""

UNTYPED = "null"
"""The type that Arrow gives to a column without any value."""

MINIMUM_VALUES = 20
"""Fewer values say nothing about a type."""

_FAMILIES = {
    "integer": r"u?int(\d|eger|$)|bigint|smallint|tinyint|serial",
    "number": r"double|float|halffloat|real",
    "decimal": r"decimal|numeric",
    "timestamp": r"timestamp|datetime",
    "date": r"date",
    "boolean": r"bool",
    "text": r"text|(large_)?string|varchar|char|dictionary<values=(large_)?string",
}
_NUMERIC = {"integer", "number", "decimal"}


def compare(now: SourceAudit, before: SourceAudit) -> list[Change]:
    """Return the differences between the schema now and before.

    Added columns and another order are harmless. A declared column that is gone, or whose type has changed, breaks;
    unless sources.yaml has changed with it.
    """
    gone = _gone(now, before)
    added = [name for name in _found(now) if name not in _found(before)]
    changes = [Change(name, f"is gone{_perhaps_renamed(added)}", breaking=True) for name in gone]
    changes += [Change(name, "is gone; it is not declared") for name in _found(before) if _is_dropped(name, now)]
    changes += [Change(name, "is new") for name in added]
    for column in now.columns:
        known = before.column(column.name)
        if known and known.found and column.found:
            changes += _type_changes(column, known, now.format == before.format)
    return changes + _order_change(now, before)


def with_known_columns(now: SourceAudit, before: SourceAudit) -> SourceAudit:
    """Return an audit that still knows what its deliveries leave open and the audit before found.

    A Parquet column without any value may have no type. A line of JSON may leave out what it has no value for, and a
    file without lines has no key at all; a required column that no line has is missing all the same.
    """
    if now.format != before.format:
        return now
    known = {column.name: column.found for column in before.columns if column.found}
    if now.format != "jsonl":
        columns = [
            replace(column, found=known.get(column.name, column.found)) if column.found == UNTYPED else column
            for column in now.columns
        ]
        return replace(now, columns=columns)
    left_out = [column for column in now.columns if not (column.found or (column.required and now.sample.rows))]
    columns = [
        replace(column, found=known.get(column.name, "")) if column in left_out else column for column in now.columns
    ]
    columns += [ColumnAudit(name, found) for name, found in known.items() if now.column(name) is None]
    return replace(now, columns=columns)


def confirm(changes: list[Change]) -> list[Change]:
    """Return the changes with those confirmed that concern a type; nothing can replace a column that is gone."""
    return [
        replace(change, confirmed=True) if change.breaking and not change.what.startswith("is gone") else change
        for change in changes
    ]


def family(found: str) -> str:
    """Return the kind of values that a type of a file or database holds.

    Examples:
        >>> family("int64"), family("NUMERIC(10, 2)"), family("timestamp[us]"), family("INTERVAL")
        ('integer', 'decimal', 'timestamp', 'interval')
    """
    for name, pattern in _FAMILIES.items():
        if re.match(pattern, found.lower()):
            return name
    return found.lower()


def is_missing(column: ColumnAudit, source_format: str) -> bool:
    """Return whether a declared column should be there and is not; JSON may leave out what has no value."""
    return column.declared is not None and not column.found and (column.required or source_format != "jsonl")


def _found(audit: SourceAudit) -> list[str]:
    return [column.name for column in audit.columns if column.found]


def _gone(now: SourceAudit, before: SourceAudit) -> list[str]:
    return [column.name for column in now.columns if column.name in _found(before) and is_missing(column, now.format)]


def _is_dropped(name: str, now: SourceAudit) -> bool:
    return now.column(name) is None


def _perhaps_renamed(added: list[str]) -> str:
    return f"; new since then: {', '.join(added)}" if added else ""


def _type_changes(column: ColumnAudit, known: ColumnAudit, same_format: bool) -> list[Change]:
    if column.declared != known.declared:
        return [Change(column.name, f"is declared as {column.declared or 'nothing'}, before as {known.declared}")]
    if same_format and column.found != known.found and known.found != UNTYPED:
        breaking = column.declared is not None and not _alike(column, known)
        return [Change(column.name, f"changed its type from {known.found} to {column.found}", breaking)]
    if _unreadable(column) and not _unreadable(known):
        share = 1 - (column.readable or 0.0)
        what = f"changed its type: {share:.0%} of its values do not read as {column.declared}"
        return [Change(column.name, what, breaking=True)]
    return []


def _alike(column: ColumnAudit, known: ColumnAudit) -> bool:
    families = {family(column.found), family(known.found)}
    # Numbers of every kind read alike, but the text of 7 and of 7.0 is not the same.
    return len(families) == 1 or (column.declared in _NUMERIC and families <= _NUMERIC)


def _unreadable(column: ColumnAudit) -> bool:
    return column.readable is not None and column.values >= MINIMUM_VALUES and column.readable < 1 - UNREADABLE_SHARE


def _order_change(now: SourceAudit, before: SourceAudit) -> list[Change]:
    shared = [name for name in _found(now) if name in _found(before)]
    moved = [name for name in _found(before) if name in shared] != shared
    return [Change(", ".join(shared), "are in another order")] if moved and now.format != "jsonl" else []
