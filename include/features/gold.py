"""Gold: build, check and write one row of features per customer of the population and snapshot day."""

from __future__ import annotations

import datetime as dt
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from include.days import DayRange
from include.features.compile import feature_batches
from include.features.definitions import mark_built
from include.features.gold_checks import GoldChecks
from include.features.lookback import gold_sources, longest_window, rebuilt_days_after, silver_days
from include.lake import Lake, StepResult, with_optimistic_retry
from include.lake.table_names import FEATURES_QUARANTINE_TABLE, FEATURES_TABLE, GOLD_DAYS_TABLE, silver_table
from include.logs import get_logger
from include.projects import Project
from include.quality.contract import gold_contract
from include.quality.gate import require_open, write_report

log = get_logger(__name__)


def gold_days(project: Project, lake: Lake, days: DayRange, rebuilt: DayRange) -> list[dt.date]:
    """Return the gold days to build after an ingest, sorted.

    These are the snapshot days within ``days``, the last day of ``days``, which is scored, and every gold day built
    earlier that depends on ``rebuilt`` and lies within the project's lateness.

    Args:
        project: The project.
        lake: The lake.
        days: The days that were ingested.
        rebuilt: The silver days that were written.
    """
    dependent = DayRange(rebuilt.first, rebuilt.last + dt.timedelta(days=rebuilt_days_after(project)))
    own = {day for day in days if project.is_snapshot_day(day)} | {days.last}
    return sorted(own | {day for day in built_days(lake) if day in dependent})


def built_days(lake: Lake) -> set[dt.date]:
    """Return the days for which gold was built, including days without an active customer."""
    return {*lake.table(GOLD_DAYS_TABLE).days(), *lake.table(FEATURES_TABLE).days()}


def build_gold(
    project: Project, lake: Lake, days: DayRange, reports: Path, rebuilt: DayRange | None = None
) -> StepResult:
    """Compute, check and replace the gold rows of ``days`` and of the earlier built days that depend on them.

    Rows that violate a feature's validation go to quarantine. Runs of different days produce the same gold in any order
    and in parallel: a run that changes silver rebuilds the gold days that depend on it, and a run computes again if
    its inputs changed in the meantime.

    Args:
        project: The project.
        lake: The lake; silver must hold ``days`` and the days that the windows cover.
        days: The days that were ingested.
        reports: The folder for check reports.
        rebuilt: The silver days that were written; by default ``days``.

    Returns:
        The result; ``detail`` holds the path of the report, the number of gold days written, and the number of gold
        days that may be stale, because they depend on the changed days but lie beyond the project's lateness.

    Raises:
        GateError: Too few rows pass; gold is unchanged, and the message names the report.
        ContractError: A gold column has another type than features.yaml declares.
        LakeError: Other runs replaced the inputs during every attempt.
    """
    start = time.perf_counter()
    changed = rebuilt or days
    last = changed.last + dt.timedelta(days=rebuilt_days_after(project))
    read = silver_days(project, DayRange(min(days.first, changed.first), max(days.last, last)))
    inputs = {silver_table(name): read for name in gold_sources(project)}

    def write() -> StepResult:
        return _write(project, lake, gold_days(project, lake, days, changed), days, reports)

    result = with_optimistic_retry(lake, inputs, write)
    stale = stale_days(project, lake, changed)
    if stale:
        log.warning("gold may be stale", extra={"days": [str(stale[0]), str(stale[-1])], "number": len(stale)})
    detail = {**(result.detail or {}), "stale_days": len(stale)}
    result = replace(result, seconds=round(time.perf_counter() - start, 3), detail=detail)
    log.info("gold built", extra=result.as_dict())
    return result


def stale_days(project: Project, lake: Lake, changed: DayRange) -> list[dt.date]:
    """Return the gold days that depend on changed days but lie beyond the project's lateness, sorted.

    Args:
        project: The project.
        lake: The lake.
        changed: The silver days that were written.
    """
    window = longest_window(project)
    rebuilt_to = changed.last + dt.timedelta(days=rebuilt_days_after(project))
    dependent_to = None if window is None else changed.last + dt.timedelta(days=window - 1)
    return sorted(day for day in built_days(lake) if rebuilt_to < day and (dependent_to is None or day <= dependent_to))


def _write(project: Project, lake: Lake, wanted: list[dt.date], days: DayRange, reports: Path) -> StepResult:
    checks, contract, features = GoldChecks(project), gold_contract(project), lake.table(FEATURES_TABLE)
    if features.exists():
        contract.verify_stored(features.schema())
    files, refused = [], []
    # Checked rows are kept in temporary files until all batches have passed, so that a shut gate changes no day.
    with tempfile.TemporaryDirectory(prefix="gold-") as folder:
        for batch, rows in feature_batches(project, lake, wanted):
            passed, failed = checks.split(rows)
            files.append((batch, Path(folder) / f"{batch[0]}.parquet"))
            pq.write_table(passed, files[-1][1])
            refused.append(failed)
        outcome = checks.outcome()
        report = write_report(project.name, "gold", days, [outcome], reports)
        _quarantine(lake, wanted, pa.concat_tables(refused))
        require_open([outcome], report)
        versions = []
        for batch, path in files:
            rows = pq.read_table(path)
            contract.verify(rows)
            versions.append(features.replace(batch, rows))
    counts = features.row_counts(wanted)
    mark_built(project, lake, {day: counts.get(day, 0) for day in wanted})
    detail = {"report": str(report), "gold_days": len(wanted)}
    return StepResult(FEATURES_TABLE, outcome.rows, outcome.refused, sum(counts.values()), versions[-1], 0.0, detail)


def _quarantine(lake: Lake, days: list[dt.date], rows: pa.Table) -> None:
    table = lake.table(FEATURES_QUARANTINE_TABLE)
    if rows.num_rows or table.exists():
        table.replace(days, rows)
