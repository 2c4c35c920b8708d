"""SQL expressions in configuration: each computes one value from one row."""

from __future__ import annotations

import sqlglot
from sqlglot import exp

DIALECT = "duckdb"

_OPERATORS: set[type[exp.Expr]] = {
    *(exp.Column, exp.Identifier, exp.Literal, exp.Boolean, exp.Null, exp.Paren, exp.Interval, exp.Var),
    *(exp.And, exp.Or, exp.Not, exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.NullSafeEQ, exp.NullSafeNEQ),
    *(exp.Is, exp.In, exp.Between, exp.Like, exp.ILike, exp.Escape, exp.Case, exp.If),
    *(exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.Neg, exp.DPipe),
    *(exp.Cast, exp.TryCast, exp.DataType, exp.DataTypeParam),
}
_FUNCTIONS: set[type[exp.Expr]] = {
    *(exp.Coalesce, exp.Nullif, exp.Greatest, exp.Least),
    *(exp.Abs, exp.Ceil, exp.Exp, exp.Floor, exp.IsInf, exp.IsNan, exp.Ln, exp.Log, exp.Pow, exp.Round, exp.Sign),
    *(exp.Sqrt, exp.Trunc),
    *(exp.Concat, exp.Contains, exp.Left, exp.Length, exp.Lower, exp.RegexpExtract, exp.RegexpLike, exp.Replace),
    *(exp.Right, exp.SplitPart, exp.StartsWith, exp.StrPosition, exp.Substring, exp.Trim, exp.Upper),
    *(exp.DateAdd, exp.DateDiff, exp.Extract, exp.LastDay, exp.TimestampTrunc, exp.DateTrunc),
    *(exp.Year, exp.Quarter, exp.Month, exp.Week, exp.Day, exp.DayOfWeek, exp.DayOfWeekIso, exp.DayOfYear),
    *(exp.Hour, exp.Minute, exp.Second),
}
_TYPES = {
    *(exp.DType.BOOLEAN, exp.DType.INT, exp.DType.BIGINT, exp.DType.DECIMAL, exp.DType.FLOAT, exp.DType.DOUBLE),
    *(exp.DType.TEXT, exp.DType.VARCHAR, exp.DType.DATE, exp.DType.TIMESTAMP),
}


def check_expression(sql: str) -> None:
    """Check that ``sql`` is a SQL expression over one row, with allowed operators, functions and types only.

    Raises:
        ValueError: The text is not a SQL expression, or contains something else, such as a subquery, an aggregate,
            the clock, or a function that is not allowed.

    Example:
        >>> check_expression("amount * (1 - discount)")
        >>> check_expression("sum(amount)")
        Traceback (most recent call last):
        ...
        ValueError: the expression 'sum(amount)' contains SUM(amount), which is not allowed; an expression ...
    """
    for node in _parse(sql).walk():
        if not _is_allowed(node):
            raise ValueError(
                f"the expression {sql!r} contains {node.sql(DIALECT)}, which is not allowed; an expression computes a "
                "value from the columns of its own row, with the operators, functions and types in "
                "include/projects/expressions.py"
            )


def columns_in(sql: str) -> set[str]:
    """Return the columns that the expression uses.

    Example:
        >>> sorted(columns_in("CASE WHEN status = 'failed' THEN amount END"))
        ['amount', 'status']
    """
    return {column.name for column in _parse(sql).find_all(exp.Column)}


def _is_allowed(node: exp.Expr) -> bool:
    if isinstance(node, exp.Column):
        return len(node.parts) == 1
    if isinstance(node, exp.DataType):
        return node.this in _TYPES  # the name of another type would be copied into the query as it is
    if isinstance(node, exp.Var):
        return node.name.isalpha()
    return type(node) in _OPERATORS | _FUNCTIONS


def _parse(sql: str) -> exp.Condition:
    try:
        parsed: exp.Condition = sqlglot.parse_one(sql, into=exp.Condition, dialect=DIALECT)
    except sqlglot.errors.SqlglotError as error:
        described = error.errors if isinstance(error, sqlglot.errors.ParseError) else []
        problem = described[0]["description"].rstrip(".") if described else "it cannot be parsed"
        raise ValueError(f"{sql!r} is not a SQL expression: {problem}") from error
    return parsed
