"""Silver: the bronze rows that pass their checks, with types and without duplicates. Other rows go to quarantine."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from pathlib import Path

import ibis
import pyarrow as pa
import pyarrow.compute as pc

from include.days import DayRange
from include.lake import Lake, StepResult, with_optimistic_retry
from include.lake.table_names import DELIVERIES_TABLE, bronze_table, quarantine_table, silver_table
from include.logs import get_logger
from include.projects import Checks, Project
from include.quality.contract import silver_contract
from include.quality.gate import RuleOutcome, TableOutcome, require_open, write_report
from include.quality.row_rules import RULE, typed_rows
from include.quality.silver_days import loaded_days, record_loaded_days
from include.quality.source_checks import ROW_KEY, CheckedSource, blocks_of, check_source
from include.quality.table_rules import table_outcomes
from include.sources.bronze_tables import FILE, ROW, delivered_days

log = get_logger(__name__)


def build_silver(project: Project, lake: Lake, days: DayRange, reports: Path) -> list[StepResult]:
    """Check the bronze rows of ``days`` and replace the silver and quarantine partitions of those days.

    All sources are checked before any table is written. If a gate is shut, the refused rows are in quarantine and
    silver is unchanged. For a source with ``deduplicate_days``, the loaded days within that number of days after
    ``days`` are built again, since their duplicates may change; ``detail["days_rebuilt"]`` of the result lists them.
    Therefore silver depends only on bronze, not on the order of the runs or on concurrent runs.

    Args:
        project: The project.
        lake: Its lake.
        days: The days.
        reports: The folder of reports.

    Raises:
        GateError: Too few rows pass, or a rule on a whole table is violated; the message states the report.
        ContractError: A column of silver has another type than in ``sources.yaml``.
    """
    read = {bronze_table(name): _extended(days, source.deduplicate_days) for name, source in project.sources.items()}
    results = with_optimistic_retry(
        lake, {**read, DELIVERIES_TABLE: days}, lambda: _build(project, lake, days, reports)
    )
    for result in results:
        log.info("silver built", extra=result.as_dict())
    return results


def _build(project: Project, lake: Lake, days: DayRange, reports: Path) -> list[StepResult]:
    start = time.perf_counter()
    for name, source in project.sources.items():
        if (silver := lake.table(silver_table(name))).exists():
            silver_contract(name, source).verify_stored(silver.schema())
    delivered = {name: delivered_days(lake, name, days) for name in project.sources}
    checked = {name: check_source(project, lake, name, tuple(days), delivered[name]) for name in project.sources}
    later = {
        name: check_source(project, lake, name, following, set(following))
        for name in project.sources
        if (following := _later_days(project, lake, name, days))
    }
    outcomes = [
        _outcome(project, item, table_outcomes(project, lake, item, checked, delivered[item.name]))
        for item in checked.values()
    ]
    # The table rules of the later days were evaluated by their own runs.
    outcomes += [_outcome(project, item, [], note=_rebuilt_note(item.days)) for item in later.values()]
    report = write_report(project.name, "silver", days, outcomes, reports)
    for item in [*checked.values(), *later.values()]:
        _quarantine(lake, item)
    require_open(outcomes, report)
    results = []
    for name in project.sources:
        parts = [part for part in (checked[name], later.get(name)) if part]
        written = [_write(project, lake, part) for part in parts]
        result = StepResult(
            silver_table(name),
            sum(part.rows for part in parts),
            sum(part.refused for part in parts),
            sum(rows for rows, _ in written),
            written[-1][1],
            round(time.perf_counter() - start, 3),
            {"report": str(report), "days_rebuilt": [str(day) for part in parts[1:] for day in part.days]},
        )
        results.append(result)
    record_loaded_days(lake, delivered, days)
    return results


def _later_days(project: Project, lake: Lake, name: str, days: DayRange) -> tuple[dt.date, ...]:
    """Return the loaded days after ``days`` that may contain duplicates of rows in ``days``, sorted."""
    lookback = project.sources[name].deduplicate_days
    if not lookback:
        return ()
    following = DayRange(days.last + dt.timedelta(days=1), days.last + dt.timedelta(days=lookback))
    return tuple(sorted(loaded_days(lake, name, following)))


def _rebuilt_note(days: Sequence[dt.date]) -> str:
    return f"later days, rebuilt because of their duplicates: {', '.join(str(day) for day in days)}"


def _outcome(project: Project, item: CheckedSource, more: Sequence[RuleOutcome], note: str = "") -> TableOutcome:
    contract = silver_contract(item.name, project.sources[item.name])
    minimum = project.checks.get(item.name, Checks()).minimum_pass_share
    return TableOutcome(contract.table, item.rows, item.refused, minimum, (*item.rules, *more), contract, note)


def _write(project: Project, lake: Lake, item: CheckedSource) -> tuple[int, int]:
    """Replace the silver days of ``item`` and return the number of rows and the Delta version."""
    source = project.sources[item.name]
    contract = silver_contract(item.name, source)
    bronze, silver = lake.table(bronze_table(item.name)), lake.table(silver_table(item.name))
    counts = bronze.row_counts(item.days)
    written, version = 0, -1
    for block in blocks_of(item.days, counts):
        if not any(counts.get(day) for day in block) and silver.exists() and not silver.files(block):
            continue
        engine = lake.connect()
        rows = typed_rows(source, engine, bronze.scan(engine, block), project.timezone)
        kept = rows.anti_join(ibis.memtable(_within(item.refusals, block)), ROW_KEY).drop(RULE, FILE, ROW)
        found = kept.order_by(["dt", *source.key]).to_pyarrow()
        contract.verify(found)
        version = silver.replace(block, found)
        written += found.num_rows
    return written, version if version >= 0 else silver.version()


def _quarantine(lake: Lake, item: CheckedSource) -> None:
    bronze, quarantine = lake.table(bronze_table(item.name)), lake.table(quarantine_table(item.name))
    for block in blocks_of(item.days, bronze.row_counts(item.days)):
        refused = _within(item.refusals, block)
        if not refused.num_rows and not quarantine.files(block):
            continue
        refusals = ibis.memtable(refused)
        rules = refusals.group_by(ROW_KEY).agg(rules=refusals["rule"].group_concat(", ", order_by=refusals["rule"]))
        # Materialised by DuckDB, since Ibis has no ordered concatenation for Spark.
        violated = ibis.memtable(rules.to_pyarrow())
        rows = bronze.scan(lake.connect(), block).inner_join(violated, ROW_KEY).order_by(ROW_KEY).to_pyarrow()
        quarantine.replace(block, rows)


def _within(refusals: pa.Table, days: Sequence[dt.date]) -> pa.Table:
    return refusals.filter(pc.is_in(refusals["dt"], value_set=pa.array(days, pa.date32())))


def _extended(days: DayRange, by: int) -> DayRange:
    margin = dt.timedelta(days=by)
    return DayRange(days.first - margin, days.last + margin)
