"""SQL expressions over the columns of one row: derived columns and the conditions of aggregations.

The project's YAML contains these expressions in the dialect of DuckDB, which computes them on every engine.
Identifiers are quoted. docs/decisions/0006-sql-expressions.md gives the allowed subset and the reasons.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import ibis
import ibis.expr.operations as ops
import sqlglot
from ibis.expr.types import Value
from sqlglot import exp

from include.lake import Engine
from include.projects.expressions import DIALECT, columns_in
from include.projects.features import DerivedColumn
from include.sources.column_types import ENGINE_TYPES

_SQL_TYPES = ENGINE_TYPES | {"string": "VARCHAR", "integer": "BIGINT", "number": "DOUBLE"}


def needed_columns(derived: Sequence[DerivedColumn], wanted: Iterable[str]) -> set[str]:
    """Return ``wanted`` and every column that its derived columns are computed from.

    Args:
        derived: The derived columns of a source, in their order.
        wanted: Names of columns.

    Examples:
        >>> net = DerivedColumn(name="net", description="", type="decimal", sql="amount - fee")
        >>> sorted(needed_columns([net], ["net"]))
        ['amount', 'fee', 'net']
    """
    needed = set(wanted)
    for column in reversed(derived):  # a derived column refers only to earlier columns
        if column.name in needed:
            needed |= columns_in(column.sql)
    return needed


def with_derived_columns(rows: ibis.Table, engine: Engine, derived: Sequence[DerivedColumn]) -> ibis.Table:
    """Add the derived columns; a value that does not fit its declared type becomes null.

    Args:
        rows: The rows.
        engine: The engine.
        derived: The derived columns, in the order in which they refer to each other.
    """

    def derive(rows: ibis.Table) -> ibis.Table:
        for column in derived:
            kind = exp.DataType.build(_SQL_TYPES[column.type], dialect=DIALECT)
            value = exp.TryCast(this=_parse(column.sql), to=kind, safe=True)
            rows = _append(rows, {column.name: value}, ENGINE_TYPES[column.type])
            rows = rows.mutate(**{column.name: finite(rows[column.name])})
        return rows

    return engine.map_rows(rows, derive) if derived else rows


def with_conditions(rows: ibis.Table, engine: Engine, conditions: Mapping[str, str]) -> ibis.Table:
    """Add a boolean column for each SQL condition; a condition that is null counts as false.

    Args:
        rows: The rows.
        engine: The engine.
        conditions: The SQL of each condition, by the name of its column.
    """
    if not conditions:
        return rows
    false = exp.false()
    values = {name: exp.Coalesce(this=_parse(sql), expressions=[false]) for name, sql in conditions.items()}
    return engine.map_rows(rows, lambda rows: _append(rows, values, "boolean"))


def finite(column: Value) -> Value:
    """Replace NaN and infinity in a floating-point column by null, since one such value would make every sum NaN."""
    if not column.type().is_floating():
        return column
    return (column.isnan() | column.isinf()).ifelse(ibis.null(column.type()), column)


def _parse(sql: str) -> exp.Expression:
    parsed = sqlglot.parse_one(sql, into=exp.Condition, dialect=DIALECT)
    for column in parsed.find_all(exp.Column):
        column.this.set("quoted", True)
    return exp.paren(parsed)


def _append(rows: ibis.Table, values: Mapping[str, exp.Expression], kind: str) -> ibis.Table:
    # Table.sql queries the engine for the schema, which is known here and which the engine cannot infer for memtables.
    parent = rows.alias(ibis.util.gen_name("rows")).op()
    new = [exp.alias_(value, name, quoted=True) for name, value in values.items()]
    query = sqlglot.select("*", *new).from_(exp.to_table(exp.to_identifier(parent.name, quoted=True)))
    schema = ibis.schema({**rows.schema(), **dict.fromkeys(values, kind)})
    return ops.SQLStringView(parent=parent, query=query.sql(dialect=DIALECT, comments=False), schema=schema).to_expr()
