"""Gold: one checked row of features per active customer and snapshot day."""

from __future__ import annotations

import collections
import datetime as dt
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from include.days import DayRange
from include.features.build import compute_features
from include.features.labels import FEATURES
from include.features.reach import followed_days, gold_sources, longest_window, read_days
from include.lake import Lake, until_settled
from include.logs import get_logger
from include.projects import Checks, Expectation, FeatureSpec, Project
from include.quality.gate import RuleOutcome, TableOutcome, require_open, write_report
from include.quality.suite import ROW_ID, Finding, run_suite
from include.results import StepResult

log = get_logger(__name__)

BUILT = "gold/_days"
"""The table of days for which gold was built: a day on which nobody was active is there, too."""


def gold_days(project: Project, lake: Lake, days: DayRange, rebuilt: DayRange) -> list[dt.date]:
    """Return the days that get gold rows when silver of ``rebuilt`` has changed by an ingest of ``days``, sorted.

    These are the training set's snapshot days in ``days``, its last day, which is to be scored, and whatever was built
    before and follows from ``rebuilt``: those days, and as many after them as windows reach and lateness allows.
    """
    followed = DayRange(rebuilt.first, rebuilt.last + dt.timedelta(days=followed_days(project)))
    own = {day for day in days if project.is_snapshot_day(day)} | {days.last}
    return sorted(own | {day for day in built_days(lake) if day in followed})


def built_days(lake: Lake) -> set[dt.date]:
    """Return the days for which gold was ever built, also those on which no customer was active."""
    return {*lake.table(BUILT).days(), *lake.table(FEATURES).days()}


def build_gold(
    project: Project, lake: Lake, days: DayRange, reports: Path, rebuilt: DayRange | None = None
) -> StepResult:
    """Compute, check and replace the gold rows of ``days`` and of the days built before that follow from them.

    Rows that break a feature's validation go to quarantine. Runs of different days end in the same gold in whichever
    order, and at the same time: whoever finds afterwards that silver has changed meanwhile computes again, and whoever
    changes silver follows up the days that are there.

    Args:
        project: The project.
        lake: Its lake; silver must hold ``days`` and what the windows reach back to.
        days: The days that were ingested.
        reports: The folder for reports of checks.
        rebuilt: The days of silver that were written, where they are more than ``days``.

    Returns:
        What was done; ``detail`` has the report's path, the number of gold days written, and how many later ones may be
        stale, since they lie beyond the project's lateness.

    Raises:
        GateError: Too few rows pass; gold is as it was, and the message names the report.
        LakeError: Other runs replaced what was read during every attempt.
    """
    start = time.perf_counter()
    changed = rebuilt or days
    last = changed.last + dt.timedelta(days=followed_days(project))
    read = read_days(project, DayRange(min(days.first, changed.first), max(days.last, last)))
    inputs = {f"silver/{name}": read for name in gold_sources(project)}

    def write() -> StepResult:
        return _write(project, lake, gold_days(project, lake, days, changed), days, reports)

    result = until_settled(lake, inputs, write)
    stale = stale_days(project, lake, changed)
    if stale:
        log.warning("gold may be stale", extra={"days": [str(stale[0]), str(stale[-1])], "number": len(stale)})
    detail = {**(result.detail or {}), "stale_days": len(stale)}
    result = replace(result, seconds=round(time.perf_counter() - start, 3), detail=detail)
    log.info("gold built", extra=result.as_dict())
    return result


def stale_days(project: Project, lake: Lake, changed: DayRange) -> list[dt.date]:
    """Return the gold days that see ``changed`` in their windows, but lie beyond the project's lateness, sorted."""
    window = longest_window(project)
    followed = changed.last + dt.timedelta(days=followed_days(project))
    reach = None if window is None else changed.last + dt.timedelta(days=window - 1)
    return sorted(day for day in built_days(lake) if followed < day and (reach is None or day <= reach))


def _write(project: Project, lake: Lake, wanted: list[dt.date], days: DayRange, reports: Path) -> StepResult:
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
    _quarantine(lake, wanted, rows.filter(refused), list(rules.values()))
    require_open([outcome], report)
    kept = rows.filter(pc.invert(refused))
    version = lake.table(FEATURES).replace(wanted, kept)
    _mark_built(lake, wanted, kept)
    detail = {"report": str(report), "gold_days": len(wanted)}
    return StepResult(FEATURES, rows.num_rows, len(rules), kept.num_rows, version, 0.0, detail)


def _mark_built(lake: Lake, wanted: list[dt.date], rows: pa.Table) -> None:
    counts = collections.Counter(rows["dt"].to_pylist())
    marks = {"dt": pa.array(wanted, pa.date32()), "rows": pa.array([counts[day] for day in wanted], pa.int64())}
    lake.table(BUILT).replace(wanted, pa.table(marks))


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


def _quarantine(lake: Lake, days: list[dt.date], rows: pa.Table, rules: list[str]) -> None:
    table = lake.table("quarantine/features")
    if rows.num_rows or table.exists():
        table.replace(days, rows.append_column("rules", pa.array(rules, pa.string())))
