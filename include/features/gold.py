"""Gold: one checked row of features per active customer and snapshot day."""

from __future__ import annotations

import datetime as dt
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from include.days import DayRange
from include.features.build import feature_parts
from include.features.definitions import mark_built
from include.features.gold_checks import GoldChecks
from include.features.lookback import followed_days, gold_sources, longest_window, read_days
from include.lake import Lake, StepResult, with_optimistic_retry
from include.lake.table_names import FEATURES_QUARANTINE_TABLE, FEATURES_TABLE, GOLD_DAYS_TABLE, silver_table
from include.logs import get_logger
from include.projects import Project
from include.quality.contract import gold_contract
from include.quality.gate import require_open, write_report

log = get_logger(__name__)


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
    return {*lake.table(GOLD_DAYS_TABLE).days(), *lake.table(FEATURES_TABLE).days()}


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
        ContractError: A column of gold has another type than features.yaml now says.
        LakeError: Other runs replaced what was read during every attempt.
    """
    start = time.perf_counter()
    changed = rebuilt or days
    last = changed.last + dt.timedelta(days=followed_days(project))
    read = read_days(project, DayRange(min(days.first, changed.first), max(days.last, last)))
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
    """Return the gold days that see ``changed`` in their windows, but lie beyond the project's lateness, sorted."""
    window = longest_window(project)
    followed = changed.last + dt.timedelta(days=followed_days(project))
    reach = None if window is None else changed.last + dt.timedelta(days=window - 1)
    return sorted(day for day in built_days(lake) if followed < day and (reach is None or day <= reach))


def _write(project: Project, lake: Lake, wanted: list[dt.date], days: DayRange, reports: Path) -> StepResult:
    checks, contract, features = GoldChecks(project), gold_contract(project), lake.table(FEATURES_TABLE)
    if features.exists():
        contract.verify_stored(features.schema())
    parts, refused = [], []
    # Rows wait in files until all are checked, so that a shut gate leaves every day as it was, whatever their number.
    with tempfile.TemporaryDirectory(prefix="gold-") as folder:
        for days_of_part, rows in feature_parts(project, lake, wanted):
            kept, others = checks.split(rows)
            parts.append((days_of_part, Path(folder) / f"{days_of_part[0]}.parquet"))
            pq.write_table(kept, parts[-1][1])
            refused.append(others)
        outcome = checks.outcome()
        report = write_report("gold", days, [outcome], reports)
        _quarantine(lake, wanted, pa.concat_tables(refused))
        require_open([outcome], report)
        versions = []
        for some, path in parts:
            rows = pq.read_table(path)
            contract.verify(rows)
            versions.append(features.replace(some, rows))
    counts = features.row_counts(wanted)
    mark_built(project, lake, {day: counts.get(day, 0) for day in wanted})
    detail = {"report": str(report), "gold_days": len(wanted)}
    return StepResult(FEATURES_TABLE, outcome.rows, outcome.refused, sum(counts.values()), versions[-1], 0.0, detail)


def _quarantine(lake: Lake, days: list[dt.date], rows: pa.Table) -> None:
    table = lake.table(FEATURES_QUARANTINE_TABLE)
    if rows.num_rows or table.exists():
        table.replace(days, rows)
