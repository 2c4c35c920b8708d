"""Silver: bronze rows that are typed, deduplicated and have passed their checks; the others go to quarantine."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
from ibis.backends.duckdb import Backend

from include.days import DayRange
from include.lake import Lake, connect
from include.logs import get_logger
from include.projects import Checks, Project, Source
from include.quality.gate import RuleOutcome, TableOutcome, require_open, write_report
from include.quality.loaded import mark_loaded
from include.quality.suite import ROW_ID, Finding, run_suite
from include.quality.typed import RULE, typed_rows
from include.results import StepResult
from include.sources.bronze import FILE, ROW

log = get_logger(__name__)


@dataclass(frozen=True)
class _Checked:
    """One source's rows on the engine, with the rules that refuse some of them."""

    name: str
    engine: Backend
    rows: ibis.Table
    refusals: ibis.Table  # _id, rule
    outcome: TableOutcome


def build_silver(project: Project, lake: Lake, days: DayRange, reports: Path) -> list[StepResult]:
    """Check the bronze rows of ``days`` and replace the silver and quarantine partitions of those days.

    All sources are checked before any is written: when a gate is shut, quarantine holds what was refused, and silver is
    as it was.

    Args:
        project: The project.
        lake: Its lake.
        days: The days.
        reports: The folder for reports of checks.

    Raises:
        GateError: Too few rows pass, or a rule about a whole table is violated; it names the report.
    """
    start = time.perf_counter()
    checked = [
        _check(name, source, project.checks.get(name, Checks()), lake, days) for name, source in project.sources.items()
    ]
    outcomes = [item.outcome for item in checked]
    report = write_report("silver", days, outcomes, reports)
    for item in checked:
        _quarantine(item, lake, days)
    require_open(outcomes, report)
    results = []
    for item in checked:
        kept = item.rows.anti_join(item.refusals, ROW_ID).drop(RULE, ROW_ID, FILE, ROW)
        rows = kept.order_by(["dt", *project.sources[item.name].key]).to_pyarrow()
        version = lake.table(f"silver/{item.name}").replace(days, rows)
        seconds = round(time.perf_counter() - start, 3)
        outcome = item.outcome
        result = StepResult(
            f"silver/{item.name}",
            outcome.rows,
            outcome.refused,
            rows.num_rows,
            version,
            seconds,
            {"report": str(report)},
        )
        log.info("silver built", extra=result.as_dict())
        results.append(result)
    mark_loaded(lake, project.sources, days)
    return results


def _check(name: str, source: Source, checks: Checks, lake: Lake, days: DayRange) -> _Checked:
    engine = connect()
    bronze = lake.table(f"bronze/{name}").scan(engine, days)
    rows = engine.create_table("typed", typed_rows(source, bronze))
    sound = rows.filter(rows[RULE].isnull())
    findings = run_suite(f"silver/{name}", _check_frame(sound, checks, days), checks.expectations)
    form = rows.filter(rows[RULE].notnull()).select(ROW_ID, rule=rows[RULE]).to_pyarrow().cast(_refusal_schema())
    refusals = pa.concat_tables([form, *(_refusal_rows(finding) for finding in findings)])
    outcome = _outcome(name, int(rows.count().execute()), refusals, findings, checks)
    return _Checked(name, engine, rows, ibis.memtable(refusals), outcome)


def _check_frame(rows: ibis.Table, checks: Checks, days: DayRange) -> pd.DataFrame:
    # Only what the suite looks at, and money as floats: Decimal objects are slow, and a check needs no exactness.
    used = {ROW_ID}
    for expectation in checks.expectations:
        arguments = expectation.arguments
        used |= {arguments[key] for key in ("column", "column_A", "column_B") if key in arguments}
        used |= set(arguments.get("column_list", []))
    columns = [name for name in rows.columns if name in used]
    frame: pd.DataFrame = rows.select(
        **{name: rows[name].cast("float64") if rows[name].type().is_decimal() else rows[name] for name in columns}
    ).to_pandas()
    return frame


def _refusal_schema() -> pa.Schema:
    return pa.schema([(ROW_ID, pa.int64()), ("rule", pa.string())])


def _refusal_rows(finding: Finding) -> pa.Table:
    ids = finding.failed_ids if finding.severity == "refuse" else np.array([], dtype=np.int64)
    return pa.table({ROW_ID: ids, "rule": [finding.rule] * len(ids)}, schema=_refusal_schema())


def _outcome(name: str, rows: int, refusals: pa.Table, findings: list[Finding], checks: Checks) -> TableOutcome:
    counts = refusals.to_pandas()
    by_rule = counts.groupby("rule").size().to_dict()
    suite_rules = {finding.rule for finding in findings}
    form = [
        RuleOutcome(rule, "refuse", False, count) for rule, count in sorted(by_rule.items()) if rule not in suite_rules
    ]
    suite = [
        RuleOutcome(finding.rule, finding.severity, finding.success, by_rule.get(finding.rule, 0), finding.observed)
        for finding in findings
    ]
    refused = int(counts[ROW_ID].nunique())
    return TableOutcome(f"silver/{name}", rows, refused, checks.minimum_pass_share, tuple(form + suite))


def _quarantine(item: _Checked, lake: Lake, days: DayRange) -> None:
    rules = item.refusals.group_by(ROW_ID).agg(
        rules=item.refusals["rule"].group_concat(", ", order_by=item.refusals["rule"])
    )
    bronze = lake.table(f"bronze/{item.name}").scan(item.engine, days)
    refused = item.rows.inner_join(rules, ROW_ID).select(FILE, ROW, "dt", "rules")
    rows = bronze.inner_join(refused, [FILE, ROW, "dt"])
    table = lake.table(f"quarantine/{item.name}")
    frame = rows.order_by(["dt", FILE, ROW]).to_pyarrow()
    if frame.num_rows or table.exists():
        table.replace(days, frame)
