"""Gold: one checked row of features per active customer and snapshot day."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from include.days import DayRange
from include.features.build import compute_features
from include.features.labels import FEATURES
from include.lake import Lake
from include.logs import get_logger
from include.projects import Checks, Expectation, FeatureSpec, Project
from include.quality.gate import RuleOutcome, TableOutcome, require_open, write_report
from include.quality.suite import ROW_ID, Finding, run_suite
from include.results import StepResult

log = get_logger(__name__)


def gold_days(project: Project, lake: Lake, days: DayRange) -> list[dt.date]:
    """Return the days of ``days`` that get gold rows.

    These are the training set's snapshot days, the last day, which is to be scored, and those that have rows already,
    which must follow their sources.
    """
    present = {day for day in lake.table(FEATURES).days() if day in days}
    return sorted(present | {day for day in days if project.is_snapshot_day(day)} | {days.last})


def build_gold(project: Project, lake: Lake, days: DayRange, reports: Path) -> StepResult:
    """Compute, check and replace the gold rows of the snapshot days in ``days``, and of its last day.

    Rows that break a feature's validation go to quarantine.

    Args:
        project: The project.
        lake: Its lake; silver must hold ``days`` and what the windows reach back to.
        days: The days.
        reports: The folder for reports of checks.

    Raises:
        GateError: Too few rows pass; gold is as it was, and the message names the report.
    """
    start = time.perf_counter()
    wanted = gold_days(project, lake, days)
    rows = compute_features(project, lake, wanted)
    checks = Checks(
        minimum_pass_share=project.gold_checks.minimum_pass_share,
        expectations=[*project.gold_checks.expectations, *feature_expectations(project.features)],
    )
    findings = run_suite(FEATURES, _check_frame(rows), checks.expectations)
    rules = _rules_by_row(findings)
    outcome = TableOutcome(
        FEATURES,
        rows.num_rows,
        len(rules),
        checks.minimum_pass_share,
        tuple(RuleOutcome(item.rule, item.severity, item.success, _refused(item), item.observed) for item in findings),
    )
    report = write_report("gold", days, [outcome], reports)
    ids = pa.array(range(rows.num_rows), pa.int64())
    refused = pc.is_in(ids, value_set=pa.array(list(rules), pa.int64()))
    _quarantine(lake, days, rows.filter(refused), list(rules.values()))
    require_open([outcome], report)
    kept = rows.filter(pc.invert(refused))
    version = lake.table(FEATURES).replace(wanted, kept)
    seconds = round(time.perf_counter() - start, 3)
    result = StepResult(FEATURES, rows.num_rows, len(rules), kept.num_rows, version, seconds, {"report": str(report)})
    log.info("gold built", extra=result.as_dict())
    return result


def feature_expectations(features: list[FeatureSpec]) -> list[Expectation]:
    """Return the expectations that the features' validations stand for."""
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


def _check_frame(rows: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = rows.to_pandas()
    return frame.assign(**{ROW_ID: range(len(frame))})


def _refused(finding: Finding) -> int:
    return len(finding.failed_ids) if finding.severity == "refuse" else 0


def _rules_by_row(findings: list[Finding]) -> dict[int, str]:
    rules: dict[int, list[str]] = {}
    for finding in findings:
        if finding.severity == "refuse":
            for row in finding.failed_ids.tolist():
                rules.setdefault(row, []).append(finding.rule)
    return {row: ", ".join(sorted(rules[row])) for row in sorted(rules)}


def _quarantine(lake: Lake, days: DayRange, rows: pa.Table, rules: list[str]) -> None:
    table = lake.table("quarantine/features")
    if rows.num_rows or table.exists():
        table.replace(days, rows.append_column("rules", pa.array(rules, pa.string())))
