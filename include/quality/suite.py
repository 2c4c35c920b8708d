"""Run a suite of expectations over rows and say which rows fail which rule.

Great Expectations reports the share of *expectations* that succeed; what a gate needs is the share of *rows* that pass,
so the failing rows of every expectation are collected by their id.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from include.errors import ChurnflowError
from include.projects import Expectation
from include.projects.expectations import (
    batch_definition,
    build_expectation,
    expectation_class,
    start_great_expectations,
)
from include.projects.expressions import columns_in

ROW_ID = "_id"
"""The column that identifies a row of a checked frame."""

_OF_SEVERAL_ROWS = {
    "expect_column_value_z_scores_to_be_less_than",
    "expect_column_values_to_be_decreasing",
    "expect_column_values_to_be_in_type_list",
    "expect_column_values_to_be_increasing",
    "expect_column_values_to_be_of_type",
    "expect_column_values_to_be_unique",
    "expect_column_values_to_not_be_outliers",
    "expect_compound_columns_to_be_unique",
}
"""Expectations that name rows, but whose verdict on a row depends on the others."""

_RESULT_FORMAT = {
    "result_format": "COMPLETE",
    "unexpected_index_column_names": [ROW_ID],
    "exclude_unexpected_values": True,
    "return_unexpected_index_query": False,
}


class SuiteError(ChurnflowError):
    """An expectation could not be evaluated: the suite is wrong, not the data."""


@dataclass(frozen=True)
class Finding:
    """What one expectation found.

    Attributes:
        rule: The rule in short, such as ``expect_column_values_to_be_between(quantity)``.
        severity: ``refuse``, ``stop`` or ``warn``.
        success: Whether every row, or the table, satisfied it.
        observed: What a table-level expectation saw.
        failed_ids: The ids of the rows that failed; empty for a table-level expectation.
        judged: Rows that the rule applies to: neither empty nor outside of its condition.
    """

    rule: str
    severity: str
    success: bool
    observed: str
    failed_ids: npt.NDArray[np.int64]
    judged: int = 0


def run_suite(table: str, frame: pd.DataFrame, expectations: Sequence[Expectation]) -> list[Finding]:
    """Evaluate ``expectations`` over ``frame``, which has a column ``_id``, and return one finding for each.

    Args:
        table: The table's name, for messages.
        frame: The rows.
        expectations: The suite.

    Raises:
        SuiteError: An expectation is unknown, has wrong arguments, or could not be evaluated on these columns.
    """
    if not expectations:
        return []
    batches = batch_definition()  # a suite requires a context
    suite = start_great_expectations().ExpectationSuite(name=table)
    for number, expectation in enumerate(expectations):
        with _invalid_expectation(table, expectation):
            suite.add_expectation(build_expectation(expectation, {"number": number}))
    result = batches.get_batch(batch_parameters={"dataframe": frame}).validate(suite, result_format=_RESULT_FORMAT)
    # The results come back grouped by column; the number given to each expectation finds it again.
    by_number = {item.expectation_config.meta["number"]: item for item in result.results}
    return [_finding(table, expectation, by_number[number]) for number, expectation in enumerate(expectations)]


def is_row_rule(table: str, expectation: Expectation) -> bool:
    """Return whether each row is judged by itself, so that rows may be checked in parts.

    Raises:
        SuiteError: The expectation is unknown.
    """
    with _invalid_expectation(table, expectation):
        kind = expectation_class(expectation.type)
    from great_expectations.expectations import expectation as kinds

    rows = (kinds.ColumnMapExpectation, kinds.ColumnPairMapExpectation, kinds.MulticolumnMapExpectation)
    return expectation.type not in _OF_SEVERAL_ROWS and issubclass(kind, rows)


def describe(expectation: Expectation) -> str:
    """Return the rule in short: its type and the columns that it looks at."""
    columns = _columns_judged(expectation) or ["table"]
    condition = f" where {expectation.arguments['row_condition']}" if "row_condition" in expectation.arguments else ""
    return f"{expectation.type}({', '.join(columns)}){condition}"


def columns_read(expectation: Expectation) -> set[str]:
    """Return the columns that the expectation looks at, also those of its condition."""
    condition = expectation.arguments.get("row_condition")
    return {*_columns_judged(expectation), *(columns_in(condition) if condition else ())}


def _columns_judged(expectation: Expectation) -> list[str]:
    arguments = expectation.arguments
    single = [arguments[key] for key in ("column", "column_A", "column_B") if key in arguments]
    return [*single, *arguments.get("column_list", [])]


@contextmanager
def _invalid_expectation(table: str, expectation: Expectation) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise SuiteError(
            f"{describe(expectation)} cannot be built: {error}.",
            where=f"checks.yaml, suite of {table}",
            remedy="Use an expectation of Great Expectations with its own arguments.",
        ) from error


def _finding(table: str, expectation: Expectation, item: Any) -> Finding:
    rule = describe(expectation)
    if not item.success and not item.result:
        raise SuiteError(
            f"{rule} could not be evaluated: {_first_message(item.exception_info)}.",
            where=f"checks.yaml, suite of {table}",
            remedy="Check that the column exists and that its type fits the expectation.",
        )
    failed = [index[ROW_ID] for index in item.result.get("unexpected_index_list") or []]
    ids = np.concatenate([np.atleast_1d(part) for part in failed]) if failed else np.array([])
    observed = _aggregate(item.result.get("observed_value", ""))
    judged = int(item.result.get("element_count") or 0) - int(item.result.get("missing_count") or 0)
    return Finding(rule, expectation.severity, bool(item.success), observed, ids.astype(np.int64), judged)


def _aggregate(observed: Any) -> str:
    # Reports and logs hold figures, never the values of rows.
    if isinstance(observed, list | set | tuple | dict):
        return f"{len(observed)} values"
    return "a value" if isinstance(observed, str) and observed else str(observed)


def _first_message(info: dict[str, Any]) -> str:
    for value in [info, *info.values()]:
        if isinstance(value, dict) and value.get("exception_message"):
            return str(value["exception_message"]).splitlines()[0]
    return "no reason given"
