"""Start Great Expectations, and convert the expectations of ``checks.yaml`` to its objects."""

from __future__ import annotations

import logging
import os
from functools import lru_cache
from typing import Any

import sqlglot
from sqlglot import exp

from include.projects.expressions import DIALECT
from include.projects.sources import Expectation

_OPERATORS: dict[type[exp.Expr], str] = {
    exp.EQ: "==",
    exp.NEQ: "!=",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}


@lru_cache(maxsize=1)
def start_great_expectations() -> Any:
    """Import Great Expectations without telemetry and log noise, and return the module.

    The first call takes about ten seconds.
    """
    # Both must be set before the import, which otherwise sends usage data and logs some 200 lines.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    import great_expectations

    return great_expectations


@lru_cache(maxsize=1)
def batch_definition() -> Any:
    """Return the batch definition of the process; each data frame of each table is one of its batches."""
    context = start_great_expectations().get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("rows").add_dataframe_asset("rows")
    return asset.add_batch_definition_whole_dataframe("all")


def expectation_class(name: str) -> Any:
    """Return the class of an expectation.

    Raises:
        ValueError: Great Expectations has no expectation of this name.
    """
    start_great_expectations()
    from great_expectations.exceptions.exceptions import ExpectationNotFoundError
    from great_expectations.expectations.registry import get_expectation_impl

    try:
        return get_expectation_impl(name)
    except ExpectationNotFoundError as error:
        raise ValueError(str(error)) from error


def build_expectation(expectation: Expectation, meta: dict[str, Any] | None = None) -> Any:
    """Return an expectation of ``checks.yaml`` as an object of Great Expectations.

    Args:
        expectation: The expectation.
        meta: Metadata, which the result of the validation contains.

    Raises:
        ValueError: The expectation is unknown, or does not take these arguments.
    """
    kind = expectation_class(expectation.type)
    arguments = dict(expectation.arguments)
    try:
        if "row_condition" in arguments:
            arguments["row_condition"] = parse_condition(arguments["row_condition"])
        return kind(**arguments, meta=meta)
    except (TypeError, ValueError) as error:  # a ValidationError of pydantic is a ValueError
        raise ValueError(str(error).splitlines()[-1].strip()) from error


def parse_condition(sql: str) -> Any:
    """Return a ``row_condition`` as a condition object of Great Expectations.

    The supported SQL consists of comparisons of a column with a constant, ``IN`` and ``IS NULL``, negated by ``NOT``
    and joined by ``AND`` and ``OR``.

    Raises:
        ValueError: The text is not such a condition.
    """
    start_great_expectations()
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
        f"row_condition contains {node.sql(DIALECT)!r}; compare a column with a constant, or use IN, IS NULL, NOT, AND"
        " or OR"
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
    raise ValueError(f"row_condition contains {node.sql(DIALECT)!r} instead of a constant")
