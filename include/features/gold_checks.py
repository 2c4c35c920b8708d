"""The checks of gold, applied to one batch of rows at a time."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from include.lake.day_parts import split_by_day
from include.lake.table_names import FEATURES_TABLE
from include.plurals import counted
from include.projects import Expectation, FeatureSpec, Project
from include.quality.contract import gold_contract
from include.quality.gate import RuleOutcome, TableOutcome
from include.quality.suite import ROW_ID, Tally, describe_days, is_row_rule, run_suite

FINITE = "finite_as_float32"
"""The built-in rule that refuses rows with a number that is infinite, or too large for a 32-bit float."""


class GoldChecks:
    """The expectations on gold and the rule ``finite_as_float32``, with the results accumulated over batches.

    Args:
        project: The project; its gold checks and the validations of its features give the expectations.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._tallies = [
            Tally(item) for item in [*project.gold_checks.expectations, *feature_expectations(project.features)]
        ]
        self._numbers = [spec.name for spec in project.features if spec.dtype == "number"]
        self._infinite: Counter[dt.date] = Counter()
        self._infinite_columns: set[str] = set()
        self._rows = 0
        self._refused = 0

    def split(self, rows: pa.Table) -> tuple[pa.Table, pa.Table]:
        """Split a batch of whole days into the rows that pass and the refused rows, which get a column ``rules``.

        Row rules are evaluated over the batch, all other rules day by day, so that the result of a day does not depend
        on the batch.
        """
        by_row = [tally for tally in self._tallies if is_row_rule(FEATURES_TABLE, tally.expectation)]
        by_day = [tally for tally in self._tallies if not is_row_rule(FEATURES_TABLE, tally.expectation)]
        numbered = rows.append_column(ROW_ID, pa.array(np.arange(rows.num_rows)))
        rules = self._run(by_row, numbered, rows, None)
        for row, columns in self._not_finite(rows).items():
            rules.setdefault(row, []).extend(f"{FINITE}({column})" for column in columns)
        for day, part in split_by_day(numbered).items() if by_day else ():
            for row, broken in self._run(by_day, part, rows, day).items():
                rules.setdefault(row, []).extend(broken)
        refused = np.array(sorted(rules), dtype=np.int64)
        passes = np.ones(rows.num_rows, dtype=bool)
        passes[refused] = False
        self._rows += rows.num_rows
        self._refused += len(refused)
        names = pa.array([", ".join(sorted(rules[row])) for row in refused.tolist()], pa.string())
        return rows.filter(pa.array(passes)), rows.take(pa.array(refused)).append_column("rules", names)

    def outcome(self) -> TableOutcome:
        """Return the outcome over all batches."""
        return TableOutcome(
            FEATURES_TABLE,
            self._rows,
            self._refused,
            self._project.gold_checks.minimum_pass_share,
            (*(tally.outcome() for tally in self._tallies), self._finite_outcome()),
            gold_contract(self._project),
        )

    def _not_finite(self, rows: pa.Table) -> dict[int, list[str]]:
        """Return the columns with a number that is infinite as a 32-bit float, by row.

        Models read 32-bit floats, and XGBoost refuses infinite numbers.
        """
        found: dict[int, list[str]] = {}
        for column in self._numbers:
            with np.errstate(over="ignore"):
                numbers = rows[column].to_numpy().astype(np.float32)
            for row in np.flatnonzero(np.isinf(numbers)).tolist():
                found.setdefault(row, []).append(column)
        self._infinite.update(rows["dt"].take(pa.array(list(found), pa.int64())).to_pylist())
        self._infinite_columns.update(column for columns in found.values() for column in columns)
        return found

    def _finite_outcome(self) -> RuleOutcome:
        refused = sum(self._infinite.values())
        return RuleOutcome(
            rule=f"{FINITE}({', '.join(sorted(self._infinite_columns)) or 'all numbers'})",
            severity="refuse",
            success=not refused,
            refused=refused,
            observed=f"{refused:,} of {counted(self._rows, 'row')}" if refused else "",
            limits="finite, also as 32-bit floats",
            days=describe_days(self._infinite),
        )

    def _run(
        self, tallies: Sequence[Tally], part: pa.Table, rows: pa.Table, day: dt.date | None
    ) -> dict[int, list[str]]:
        broken: dict[int, list[str]] = {}
        findings = run_suite(FEATURES_TABLE, part.to_pandas(), [tally.expectation for tally in tallies])
        for tally, finding in zip(tallies, findings, strict=True):
            tally.add(finding, rows.select(["dt"]).take(pa.array(finding.failed_ids)), day)
            if finding.severity == "refuse":
                for row in finding.failed_ids.tolist():
                    broken.setdefault(row, []).append(finding.rule)
        return broken


def feature_expectations(features: Sequence[FeatureSpec]) -> list[Expectation]:
    """Return the expectations that the validations of the features define."""
    expectations = []
    for spec in features:
        if not spec.nullable:
            expectations.append(_expect("expect_column_values_to_not_be_null", spec.name))
        if spec.categories:
            expectations.append(_expect("expect_column_values_to_be_in_set", spec.name, value_set=spec.categories))
        elif spec.minimum is not None or spec.maximum is not None:
            limits = {"min_value": spec.minimum, "max_value": spec.maximum}
            given = {key: value for key, value in limits.items() if value is not None}
            expectations.append(_expect("expect_column_values_to_be_between", spec.name, **given))
    return expectations


def _expect(kind: str, column: str, **arguments: object) -> Expectation:
    return Expectation(type=kind, arguments={"column": column, **arguments})
