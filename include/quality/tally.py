"""What one expectation found in several parts of a table, put together as one outcome."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping

import pyarrow as pa

from include.projects import Expectation
from include.quality.gate import RuleOutcome
from include.quality.suite import Finding, describe

_NOT_LIMITS = ("column", "column_A", "column_B", "column_list", "row_condition")


class Tally:
    """The findings of one expectation, part by part.

    A rule on rows is judged by all rows together, a rule on the table by each of its days.

    Args:
        expectation: The expectation.
    """

    def __init__(self, expectation: Expectation) -> None:
        self.expectation = expectation
        self.rule = describe(expectation)
        self._judged = 0
        self._parts = 0
        self._failing: Counter[dt.date] = Counter()
        self._observed: dict[dt.date, str] = {}
        self._violated: list[dt.date] = []

    def add(self, finding: Finding, failed: pa.Table, day: dt.date | None) -> None:
        """Add what was found in one part.

        Args:
            finding: The finding.
            failed: The rows that failed, with their ``dt``.
            day: The day, when the part is judged by itself.
        """
        self._parts += 1
        self._judged += finding.judged
        self._failing.update(failed["dt"].to_pylist())
        if day is not None:
            self._observed[day] = finding.observed
            if not finding.success:
                self._violated.append(day)

    def outcome(self) -> RuleOutcome:
        """Return the outcome of all parts together."""
        failing = sum(self._failing.values())
        severity = self.expectation.severity
        arguments = self.expectation.arguments.items()
        return RuleOutcome(
            rule=self.rule,
            severity=severity,
            success=not self._violated if self._observed else self._enough_pass(failing),
            refused=failing if severity == "refuse" else 0,
            observed=self._seen(failing),
            judged=self._parts > 0,
            limits=", ".join(f"{key} {value}" for key, value in arguments if key not in _NOT_LIMITS),
            days=in_words(self._failing or dict.fromkeys(self._violated, 1)),
        )

    def _enough_pass(self, failing: int) -> bool:
        share = 1 - failing / self._judged if self._judged else 1.0
        return bool(share >= self.expectation.arguments.get("mostly", 1.0))

    def _seen(self, failing: int) -> str:
        if failing:
            return f"{failing:,} of {self._judged:,} rows"
        days = self._violated or list(self._observed)
        if not self._violated and len(days) > 1:
            return ""
        return "; ".join(f"{self._observed[day]} on {day}" for day in days[:3] if self._observed[day])


def in_words(days: Mapping[dt.date, int]) -> str:
    """Return when something happened: the one day, or how many and which of them had the most.

    Examples:
        >>> in_words({dt.date(2024, 1, 1): 3, dt.date(2024, 1, 2): 7})
        '2 days, most on 2024-01-02'
    """
    if not days:
        return ""
    worst = max(sorted(days), key=lambda day: days[day])
    return str(worst) if len(days) == 1 else f"{len(days)} days, most on {worst}"
