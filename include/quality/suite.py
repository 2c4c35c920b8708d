"""Evaluate a suite of expectations on a data frame, and aggregate the results over the parts of a table.

Great Expectations reports the share of successful *expectations*. The gate requires the share of passing *rows*, so the
ids of the failing rows of each expectation are collected.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from include.errors import ChurnflowError
from include.plurals import counted
from include.projects import Expectation
from include.projects.expectations import (
    batch_definition,
    build_expectation,
    expectation_class,
    start_great_expectations,
)
from include.projects.expressions import columns_in
from include.quality.gate import RuleOutcome

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
"""Expectations that return failing rows, although the result for a row depends on other rows."""

_RESULT_FORMAT = {
    "result_format": "COMPLETE",
    "unexpected_index_column_names": [ROW_ID],
    "exclude_unexpected_values": True,
    "return_unexpected_index_query": False,
}


_RULES_PER_FRAME = 10
"""Maximum number of expectations that are evaluated on the same frame.

For each expectation Great Expectations copies the rows of all columns of the frame, so a frame has few columns.
"""


class SuiteError(ChurnflowError):
    """An expectation could not be evaluated because the suite is invalid."""


@dataclass(frozen=True)
class ExpectationResult:
    """The result of one expectation.

    Attributes:
        rule: The rule's short name, such as ``expect_column_values_to_be_between(quantity)``.
        severity: ``refuse``, ``stop`` or ``warn``.
        success: Whether all rows, or the table, satisfy the expectation.
        observed: The observed value of a table-level expectation.
        failed_ids: The ids of the failing rows; empty for a table-level expectation.
        applicable: The number of rows to which the rule applies: rows that satisfy its condition and are not null.
    """

    rule: str
    severity: str
    success: bool
    observed: str
    failed_ids: npt.NDArray[np.int64]
    applicable: int = 0


def run_suite(table: str, frame: pd.DataFrame, expectations: Sequence[Expectation]) -> list[ExpectationResult]:
    """Evaluate expectations on a data frame and return their results in the same order.

    Args:
        table: The table's name, for messages.
        frame: The rows, with a column ``_id``.
        expectations: The suite.

    Raises:
        SuiteError: An expectation is unknown, has invalid arguments, or cannot be evaluated on these columns.
    """
    results: dict[int, ExpectationResult] = {}
    by_row = {number: item for number, item in enumerate(expectations) if _is_map(table, item)}
    others = {number: item for number, item in enumerate(expectations) if number not in by_row}
    if others:
        results |= _validate(table, frame, others)
    numbers = list(by_row)
    for first in range(0, len(numbers), _RULES_PER_FRAME):
        group = {number: by_row[number] for number in numbers[first : first + _RULES_PER_FRAME]}
        used = {ROW_ID}.union(*map(columns_read, group.values()))
        results |= _validate(table, frame[[name for name in frame.columns if name in used]], group)
    return [results[number] for number in range(len(expectations))]


def _validate(table: str, frame: pd.DataFrame, expectations: Mapping[int, Expectation]) -> dict[int, ExpectationResult]:
    batches = batch_definition()  # creates the context that a suite requires
    built = []
    for number, expectation in expectations.items():
        with _invalid_expectation(table, expectation):
            built.append(build_expectation(expectation, {"number": number}))
    # The constructor keeps a rule that occurs with two severities; add_expectation() drops it.
    suite = start_great_expectations().ExpectationSuite(name=table, expectations=built)
    result = batches.get_batch(batch_parameters={"dataframe": frame}).validate(suite, result_format=_RESULT_FORMAT)
    # The results are grouped by column; the number in the metadata restores the order.
    by_number = {item.expectation_config.meta["number"]: item for item in result.results}
    return {number: _result(table, item, by_number[number]) for number, item in expectations.items()}


def is_row_rule(table: str, expectation: Expectation) -> bool:
    """Return whether the result for a row depends on this row only, so rows can be checked in parts.

    Args:
        table: The table's name, for messages.
        expectation: The expectation.

    Raises:
        SuiteError: The expectation is unknown.
    """
    return expectation.type not in _OF_SEVERAL_ROWS and _is_map(table, expectation)


def _is_map(table: str, expectation: Expectation) -> bool:
    """Return whether the expectation has a result for each row, for which it reads only its own columns."""
    with _invalid_expectation(table, expectation):
        kind = expectation_class(expectation.type)
    from great_expectations.expectations import expectation as kinds

    maps = (kinds.ColumnMapExpectation, kinds.ColumnPairMapExpectation, kinds.MulticolumnMapExpectation)
    return issubclass(kind, maps)


def describe(expectation: Expectation) -> str:
    """Return the rule's short name: its type, its columns and its condition."""
    columns = _checked_columns(expectation) or ["table"]
    condition = f" where {expectation.arguments['row_condition']}" if "row_condition" in expectation.arguments else ""
    return f"{expectation.type}({', '.join(columns)}){condition}"


def columns_read(expectation: Expectation) -> set[str]:
    """Return the columns of the expectation and of its condition."""
    condition = expectation.arguments.get("row_condition")
    return {*_checked_columns(expectation), *(columns_in(condition) if condition else ())}


def _checked_columns(expectation: Expectation) -> list[str]:
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


def _result(table: str, expectation: Expectation, item: Any) -> ExpectationResult:
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
    applicable = int(item.result.get("element_count") or 0) - int(item.result.get("missing_count") or 0)
    return ExpectationResult(rule, expectation.severity, bool(item.success), observed, ids.astype(np.int64), applicable)


def _aggregate(observed: Any) -> str:
    # Reports and logs contain figures, never values of rows.
    if isinstance(observed, list | set | tuple | dict):
        return counted(len(observed), "value")
    return "a value" if isinstance(observed, str) and observed else str(observed)


def _first_message(info: dict[str, Any]) -> str:
    for value in [info, *info.values()]:
        if isinstance(value, dict) and value.get("exception_message"):
            return str(value["exception_message"]).splitlines()[0]
    return "unknown reason"


_NOT_LIMITS = ("column", "column_A", "column_B", "column_list", "row_condition")


class Tally:
    """The results of one expectation over the parts of a table.

    A row rule is evaluated over all rows together, a table rule for each day.

    Args:
        expectation: The expectation.
    """

    def __init__(self, expectation: Expectation) -> None:
        self.expectation = expectation
        self.rule = describe(expectation)
        self._applicable = 0
        self._parts = 0
        self._failing: Counter[dt.date] = Counter()
        self._observed: dict[dt.date, str] = {}
        self._violated: list[dt.date] = []

    def add(self, result: ExpectationResult, failed: pa.Table, day: dt.date | None) -> None:
        """Add the result of one part.

        Args:
            result: The result.
            failed: The failing rows, with ``dt``.
            day: The day, for a table rule.
        """
        self._parts += 1
        self._applicable += result.applicable
        self._failing.update(failed["dt"].to_pylist())
        if day is not None:
            self._observed[day] = result.observed
            if not result.success:
                self._violated.append(day)

    def outcome(self) -> RuleOutcome:
        """Return the outcome over all parts."""
        failing = sum(self._failing.values())
        severity = self.expectation.severity
        arguments = self.expectation.arguments.items()
        return RuleOutcome(
            rule=self.rule,
            severity=severity,
            success=not self._violated if self._observed else self._enough_pass(failing),
            refused=failing if severity == "refuse" else 0,
            observed=self._observation(failing),
            judged=self._parts > 0,
            limits=", ".join(f"{key} {value}" for key, value in arguments if key not in _NOT_LIMITS),
            days=describe_days(self._failing or dict.fromkeys(self._violated, 1)),
        )

    def _enough_pass(self, failing: int) -> bool:
        share = 1 - failing / self._applicable if self._applicable else 1.0
        return bool(share >= self.expectation.arguments.get("mostly", 1.0))

    def _observation(self, failing: int) -> str:
        if failing:
            return f"{failing:,} of {counted(self._applicable, 'row')}"
        days = self._violated or list(self._observed)
        if not self._violated and len(days) > 1:
            return ""
        return "; ".join(f"{self._observed[day]} on {day}" for day in days[:3] if self._observed[day])


def describe_days(days: Mapping[dt.date, int]) -> str:
    """Return a text for the days of some rows: the single day, or the number of days and the day with the most rows.

    Examples:
        >>> describe_days({dt.date(2024, 1, 1): 3, dt.date(2024, 1, 2): 7})
        '2 days, most on 2024-01-02'
    """
    if not days:
        return ""
    worst = max(sorted(days), key=lambda day: days[day])
    return str(worst) if len(days) == 1 else f"{len(days)} days, most on {worst}"
