"""Columns that are computed from their own row: derived columns, and the conditions of aggregations.

Both are SQL expressions in the configuration. They are transpiled to the engine's dialect, identifiers quoted, so that
an engine that folds names to upper case finds the same columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import ibis
import ibis.expr.operations as ops
import sqlglot
from ibis.backends.duckdb import Backend
from ibis.expr.types import Value
from sqlglot import exp

from include.projects.expressions import DIALECT, columns_in
from include.projects.features import DerivedColumn
from include.sources.values import ENGINE_TYPES

_SQL_TYPES = ENGINE_TYPES | {"string": "VARCHAR", "integer": "BIGINT", "number": "DOUBLE"}


def needed_columns(derived: Sequence[DerivedColumn], wanted: Iterable[str]) -> set[str]:
    """Return ``wanted`` with every column that the derived ones among them are made of.

    Examples:
        >>> net = DerivedColumn(name="net", description="", type="decimal", sql="amount - fee")
        >>> sorted(needed_columns([net], ["net"]))
        ['amount', 'fee', 'net']
    """
    needed = set(wanted)
    for column in reversed(derived):  # a derived column only uses those before it
        if column.name in needed:
            needed |= columns_in(column.sql)
    return needed


def with_derived(rows: ibis.Table, engine: Backend, derived: Sequence[DerivedColumn]) -> ibis.Table:
    """Return ``rows`` with the derived columns; a value that does not fit its type is null."""
    for column in derived:
        kind = exp.DataType.build(_SQL_TYPES[column.type], dialect=DIALECT)
        value = exp.TryCast(this=_parse(column.sql), to=kind, safe=True)
        rows = _append(rows, engine, {column.name: value}, ENGINE_TYPES[column.type])
        rows = rows.mutate(**{column.name: finite(rows[column.name])})
    return rows


def with_conditions(rows: ibis.Table, engine: Backend, conditions: Mapping[str, str]) -> ibis.Table:
    """Return ``rows`` with a boolean column for each SQL condition, by name; what is null is not satisfied."""
    if not conditions:
        return rows
    false = exp.false()
    values = {name: exp.Coalesce(this=_parse(sql), expressions=[false]) for name, sql in conditions.items()}
    return _append(rows, engine, values, "boolean")


def finite(column: Value) -> Value:
    """Return the column; of floats, what is not a number or infinite is null, lest it spoil every sum that it meets."""
    if not column.type().is_floating():
        return column
    return (column.isnan() | column.isinf()).ifelse(ibis.null(column.type()), column)


def _parse(sql: str) -> exp.Expression:
    parsed = sqlglot.parse_one(sql, into=exp.Condition, dialect=DIALECT)
    for column in parsed.find_all(exp.Column):
        column.this.set("quoted", True)
    return exp.paren(parsed)


def _append(rows: ibis.Table, engine: Backend, values: Mapping[str, exp.Expression], kind: str) -> ibis.Table:
    # Not Table.sql: it would ask the engine for a schema that is known here, and cannot when memory tables take part.
    parent = rows.alias(ibis.util.gen_name("rows")).op()
    new = [exp.alias_(value, name, quoted=True) for name, value in values.items()]
    query = sqlglot.select("*", *new).from_(exp.to_table(exp.to_identifier(parent.name, quoted=True)))
    schema = ibis.schema({**rows.schema(), **dict.fromkeys(values, kind)})
    return ops.SQLStringView(parent=parent, query=query.sql(dialect=engine.dialect), schema=schema).to_expr()
