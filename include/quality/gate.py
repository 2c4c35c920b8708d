"""The gate of a table: its rule outcomes, the report, and the error when too few rows pass."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from include.days import DayRange
from include.errors import ChurnflowError
from include.local_files import write_atomically
from include.logs import get_logger
from include.plurals import counted
from include.quality.contract import Contract
from include.reporting import html_templates

log = get_logger(__name__)


class GateError(ChurnflowError):
    """Too few rows pass, or a rule on the whole table is violated; only quarantine is written."""


@dataclass(frozen=True)
class RuleOutcome:
    """The outcome of one rule.

    Attributes:
        rule: The rule's short name.
        severity: ``refuse`` sends rows to quarantine, ``stop`` shuts the gate, ``warn`` is only reported.
        success: Whether the rule is satisfied; true if it could not be evaluated.
        refused: The number of rows sent to quarantine.
        observed: The observed values, as text.
        judged: Whether there was enough data for an evaluation.
        limits: The allowed values, as text.
        days: The days of the violations, as text.
    """

    rule: str
    severity: str
    success: bool
    refused: int
    observed: str = ""
    judged: bool = True
    limits: str = ""
    days: str = ""

    @property
    def verdict(self) -> str:
        """``satisfied``, ``violated`` or ``not evaluated``."""
        if not self.judged:
            return "not evaluated"
        return "satisfied" if self.success else "violated"


@dataclass(frozen=True)
class TableOutcome:
    """The outcome of the checks of one table.

    Attributes:
        table: The table's name.
        rows: The number of checked rows.
        refused: The number of rows that violate at least one rule.
        minimum_pass_share: The share of rows that must pass.
        rules: The outcomes of the rules.
        contract: The table's contract, for the report.
        note: The checked days, if they differ from the days of the run.
    """

    table: str
    rows: int
    refused: int
    minimum_pass_share: float
    rules: tuple[RuleOutcome, ...]
    contract: Contract | None = None
    note: str = ""

    @property
    def pass_share(self) -> float:
        """The share of rows that satisfy all rules; 1 if there are no rows."""
        return 1.0 if not self.rows else 1 - self.refused / self.rows

    @property
    def failures(self) -> list[str]:
        """The reasons why the gate is shut; empty if it is open."""
        reasons = [f"{rule.rule} found {rule.observed or 'a violation'}" for rule in self._violated("stop")]
        if self.pass_share < self.minimum_pass_share:
            reasons.append(
                f"only {self.pass_share:.2%} of {counted(self.rows, 'row')} pass; the minimum is "
                f"{self.minimum_pass_share:.2%}"
            )
        return reasons

    @property
    def warnings(self) -> list[RuleOutcome]:
        """The violated rules of severity ``warn``."""
        return self._violated("warn")

    def _violated(self, severity: str) -> list[RuleOutcome]:
        return [rule for rule in self.rules if rule.severity == severity and not rule.success]


def write_report(project: str, layer: str, days: DayRange, outcomes: Sequence[TableOutcome], folder: Path) -> Path:
    """Write ``<layer>.html`` and ``<layer>.json`` to ``<folder>/<last day>/`` and return the path of the HTML file.

    Args:
        project: The name of the project.
        layer: ``silver`` or ``gold``.
        days: The days of the run.
        outcomes: The outcomes of the tables.
        folder: The folder of reports.
    """
    target = folder / str(days.last)
    target.mkdir(parents=True, exist_ok=True)
    template = html_templates(Path(__file__).parent / "templates").get_template("report.html")
    page = template.render(project=project, layer=layer, days=days, outcomes=outcomes)
    details = [{**asdict(item), "pass_share": item.pass_share, "failures": item.failures} for item in outcomes]
    write_atomically(target / f"{layer}.json", json.dumps(details, indent=1))
    report = target / f"{layer}.html"
    write_atomically(report, page)
    shut = [outcome.table for outcome in outcomes if outcome.failures]
    log.info("checks reported", extra={"layer": layer, "days": str(days), "report": str(report), "gates_shut": shut})
    return report


def require_open(outcomes: Sequence[TableOutcome], report: Path) -> None:
    """Log all warnings, and raise an error if the gate of a table is shut.

    Args:
        outcomes: The outcomes of the tables.
        report: The path of the report, for messages.

    Raises:
        GateError: A gate is shut; the message states the table, the reason and the report.
    """
    for outcome in outcomes:
        for rule in outcome.warnings:
            extra = {"table": outcome.table, "rule": rule.rule, "observed": rule.observed, "report": str(report)}
            log.warning("rule violated", extra=extra)
    for outcome in outcomes:
        if outcome.failures:
            days = f" ({outcome.note})" if outcome.note else ""
            raise GateError(
                f"The gate of {outcome.table}{days} is shut: {'; '.join(outcome.failures)}.",
                where=str(report),
                remedy="Read the report and the quarantine table of the same name, then correct the data.",
            )
