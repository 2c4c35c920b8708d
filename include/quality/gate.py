"""The gate: what share of the rows passed, a report of it, and a stop when it is too little."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from include.days import DayRange
from include.errors import ChurnflowError
from include.local_files import write_atomically
from include.logs import get_logger
from include.quality.contract import Contract
from include.reporting import html_templates

log = get_logger(__name__)


class GateError(ChurnflowError):
    """Too many rows failed, or a rule about the whole table did; nothing was written after it."""


@dataclass(frozen=True)
class RuleOutcome:
    """How one rule went: rows that it refused, or whether the table satisfied it.

    Attributes:
        rule: The rule in short.
        severity: ``refuse`` sends rows to quarantine, ``stop`` shuts the gate, ``warn`` is only reported.
        success: Whether it is satisfied; a rule that could not be judged is.
        refused: Rows that it sent to quarantine.
        observed: What was seen, in words.
        judged: Whether there was enough to judge by.
        limits: What is allowed, in words.
        days: When it was violated, in words.
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
        """``satisfied``, ``violated`` or ``not judged``."""
        if not self.judged:
            return "not judged"
        return "satisfied" if self.success else "violated"


@dataclass(frozen=True)
class TableOutcome:
    """How one table went through its checks.

    Attributes:
        table: Its name.
        rows: Rows checked.
        refused: Rows that failed at least one rule.
        minimum_pass_share: The share that must pass.
        rules: Every rule's outcome.
        contract: The table's form, for the report.
        note: Which days these are, when they are not those of the run.
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
        """The share of rows that passed every rule; 1 for no rows."""
        return 1.0 if not self.rows else 1 - self.refused / self.rows

    @property
    def failures(self) -> list[str]:
        """Why the gate is shut, in words; empty when it is open."""
        reasons = [f"{rule.rule} saw {rule.observed or 'a violation'}" for rule in self._violated("stop")]
        if self.pass_share < self.minimum_pass_share:
            reasons.append(f"only {self.pass_share:.2%} of {self.rows} rows pass, {self.minimum_pass_share:.2%} must")
        return reasons

    @property
    def warnings(self) -> list[RuleOutcome]:
        """The violated rules that are only reported."""
        return self._violated("warn")

    def _violated(self, severity: str) -> list[RuleOutcome]:
        return [rule for rule in self.rules if rule.severity == severity and not rule.success]


def write_report(layer: str, days: DayRange, outcomes: Sequence[TableOutcome], folder: Path) -> Path:
    """Write ``<layer>.html`` and ``<layer>.json`` below ``folder``/<last day> and return the HTML's path."""
    target = folder / str(days.last)
    target.mkdir(parents=True, exist_ok=True)
    template = html_templates(Path(__file__).parent / "templates").get_template("report.html")
    page = template.render(layer=layer, days=days, outcomes=outcomes)
    details = [{**asdict(item), "pass_share": item.pass_share, "failures": item.failures} for item in outcomes]
    write_atomically(target / f"{layer}.json", json.dumps(details, indent=1))
    report = target / f"{layer}.html"
    write_atomically(report, page)
    shut = [outcome.table for outcome in outcomes if outcome.failures]
    log.info("checks reported", extra={"layer": layer, "days": str(days), "report": str(report), "gates_shut": shut})
    return report


def require_open(outcomes: Sequence[TableOutcome], report: Path) -> None:
    """Log what was only to be reported, and stop when the gate of any table is shut.

    Raises:
        GateError: The message names the table, the reason and the report.
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
                remedy="Read the report and the quarantine table of that name, then have the data corrected.",
            )
