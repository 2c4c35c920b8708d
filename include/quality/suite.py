"""Run a suite of expectations over rows and say which rows fail which rule.

Great Expectations reports the share of *expectations* that succeed; what a gate needs is the share of *rows* that pass,
so the failing rows of every expectation are collected by their id.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from include.errors import ChurnflowError
from include.projects import Expectation

ROW_ID = "_id"
"""The column that identifies a row of a checked frame."""


class SuiteError(ChurnflowError):
    """An expectation could not be evaluated: the suite is wrong, not the data."""


@dataclass(frozen=True)
class Finding:
    """What one expectation found.

    Attributes:
        rule: The rule in short, such as ``expect_column_values_to_be_between(quantity)``.
        severity: ``refuse`` or ``stop``.
        success: Whether every row, or the table, satisfied it.
        observed: What a table-level expectation saw.
        failed_ids: The ids of the rows that failed; empty for a table-level expectation.
    """

    rule: str
    severity: str
    success: bool
    observed: str
    failed_ids: npt.NDArray[np.int64]


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
    great_expectations = _import_quietly()
    context = great_expectations.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("rows").add_dataframe_asset(table)
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch(batch_parameters={"dataframe": frame})
    suite = great_expectations.ExpectationSuite(name=table)
    for number, expectation in enumerate(expectations):
        suite.add_expectation(_build(table, expectation, number))
    result = batch.validate(
        suite,
        result_format={
            "result_format": "COMPLETE",
            "unexpected_index_column_names": [ROW_ID],
            "exclude_unexpected_values": True,
            "return_unexpected_index_query": False,
        },
    )
    # The results come back grouped by column; the number given to each expectation finds it again.
    by_number = {item.expectation_config.meta["number"]: item for item in result.results}
    return [_finding(table, expectation, by_number[number]) for number, expectation in enumerate(expectations)]


def describe(expectation: Expectation) -> str:
    """Return the rule in short: its type and the columns that it looks at."""
    arguments = expectation.arguments
    columns = arguments.get("column") or arguments.get("column_list") or "table"
    condition = f" where {arguments['row_condition']}" if "row_condition" in arguments else ""
    return f"{expectation.type}({columns if isinstance(columns, str) else ', '.join(columns)}){condition}"


def _import_quietly() -> Any:
    # Both must be set before the import: it phones home, and logs some 200 lines about expectations it skips.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    import great_expectations

    return great_expectations


def _build(table: str, expectation: Expectation, number: int) -> Any:
    from great_expectations.exceptions.exceptions import ExpectationNotFoundError
    from great_expectations.expectations.registry import get_expectation_impl
    from pydantic.v1 import ValidationError

    try:
        return get_expectation_impl(expectation.type)(**expectation.arguments, meta={"number": number})
    except (ExpectationNotFoundError, ValidationError, TypeError, ValueError) as error:
        raise SuiteError(
            f"{describe(expectation)} cannot be built: {str(error).splitlines()[-1].strip()}.",
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
    observed = str(item.result.get("observed_value", ""))
    return Finding(rule, expectation.severity, bool(item.success), observed, ids.astype(np.int64))


def _first_message(info: dict[str, Any]) -> str:
    for value in [info, *info.values()]:
        if isinstance(value, dict) and value.get("exception_message"):
            return str(value["exception_message"]).splitlines()[0]
    return "no reason given"
