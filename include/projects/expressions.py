"""SQL expressions in configuration: each computes one value from one row."""

from __future__ import annotations

import sqlglot
from sqlglot import exp

DIALECT = "duckdb"

_FORBIDDEN: dict[type, str] = {
    exp.Subquery: "a subquery",
    exp.Query: "a query",
    exp.AggFunc: "an aggregate function",
    exp.Window: "a window function",
    exp.Star: "a star",
    exp.CurrentDate: "the clock",
    exp.CurrentTimestamp: "the clock",
    exp.CurrentTime: "the clock",
    exp.CurrentDatetime: "the clock",
    exp.Rand: "a random number",
    exp.Uuid: "a random number",
    exp.ReadCSV: "a file",
    exp.ReadParquet: "a file",
    exp.UDTF: "a table function",
    exp.Anonymous: "an unknown function",
}


def check_expression(sql: str) -> None:
    """Check that ``sql`` is a SQL expression over one row.

    Raises:
        ValueError: The text is not a SQL expression, or it uses other rows, the clock, random numbers, files or
            unknown functions.

    Example:
        >>> check_expression("amount * (1 - discount)")
        >>> check_expression("sum(amount)")
        Traceback (most recent call last):
        ...
        ValueError: the expression 'sum(amount)' contains an aggregate function; it may only use its own row
    """
    for node in _parse(sql).walk():
        for kind, name in _FORBIDDEN.items():
            if isinstance(node, kind):
                raise ValueError(f"the expression {sql!r} contains {name}; it may only use its own row")


def columns_in(sql: str) -> set[str]:
    """Return the columns that the expression uses.

    Example:
        >>> sorted(columns_in("CASE WHEN status = 'failed' THEN amount END"))
        ['amount', 'status']
    """
    return {column.name for column in _parse(sql).find_all(exp.Column)}


def _parse(sql: str) -> exp.Condition:
    try:
        parsed: exp.Condition = sqlglot.parse_one(sql, into=exp.Condition, dialect=DIALECT)
    except sqlglot.errors.SqlglotError as error:
        described = error.errors if isinstance(error, sqlglot.errors.ParseError) else []
        problem = described[0]["description"].rstrip(".") if described else "it cannot be parsed"
        raise ValueError(f"{sql!r} is not a SQL expression: {problem}") from error
    return parsed
