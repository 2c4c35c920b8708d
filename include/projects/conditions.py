"""Row conditions: the SQL of ``row_condition`` in checks.yaml as a condition of Great Expectations."""

from __future__ import annotations

from typing import Any

import sqlglot
from sqlglot import exp

from include.projects.expressions import DIALECT

_OPERATORS: dict[type[exp.Expr], str] = {
    exp.EQ: "==",
    exp.NEQ: "!=",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}


def parse_condition(sql: str) -> Any:
    """Return ``sql`` as a condition object of Great Expectations.

    Comparisons of a column with a constant, ``IN`` and ``IS NULL`` are understood, negated with ``NOT``, and joined by
    ``AND`` and ``OR``.

    Raises:
        ValueError: The text is not such a condition.
    """
    try:
        return _condition(sqlglot.parse_one(sql, dialect=DIALECT))
    except sqlglot.errors.SqlglotError as error:
        raise ValueError(f"row_condition {sql!r} is not a SQL condition") from error


def _condition(node: exp.Expr) -> Any:
    from great_expectations.expectations import row_conditions as gx

    if isinstance(node, exp.Paren):
        return _condition(node.this)
    if isinstance(node, exp.And | exp.Or):
        kind = gx.AndCondition if isinstance(node, exp.And) else gx.OrCondition
        return kind(conditions=[_condition(node.left), _condition(node.right)])
    negated = isinstance(node, exp.Not)
    inner = node.this if negated else node
    column = gx.Column(inner.this.name) if isinstance(inner.this, exp.Column) else None
    if column is not None and isinstance(inner, exp.Is) and isinstance(inner.expression, exp.Null):
        return column.is_not_null() if negated else column.is_null()
    if column is not None and isinstance(inner, exp.In) and inner.expressions:
        values = [_constant(value) for value in inner.expressions]
        return column.is_not_in(values) if negated else column.is_in(values)
    if column is not None and not negated and type(node) in _OPERATORS:
        return gx.ComparisonCondition(
            column=column, operator=gx.Operator(_OPERATORS[type(node)]), parameter=_constant(node.expression)
        )
    raise ValueError(
        f"row_condition has {node.sql(DIALECT)!r}; compare a column with a constant, or use IN, IS NULL, NOT, AND, OR"
    )


def _constant(node: exp.Expr) -> str | int | float | bool:
    if isinstance(node, exp.Neg):
        value = _constant(node.this)
        if isinstance(value, int | float):
            return -value
    elif isinstance(node, exp.Boolean):
        return bool(node.this)
    elif isinstance(node, exp.Literal):
        if node.is_string:
            return str(node.this)
        return int(node.this) if node.is_int else float(node.this)
    raise ValueError(f"row_condition has {node.sql(DIALECT)!r} where a constant is expected")
