"""Bronze: load every delivered row as text, with its file and row number, without checking its values."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass

import ibis
import pyarrow as pa
import pyarrow.compute as pc

from include.days import DayRange
from include.lake import Lake, StepResult, Table, connect
from include.lake.table_names import bronze_table
from include.logs import get_logger
from include.projects import Project, Source
from include.settings import NO_KEYS, PrivacySettings
from include.sources.bronze_tables import ROW, LoadedDelivery, record_deliveries, recorded_deliveries
from include.sources.connections import Connections
from include.sources.customer_ids import CustomerRows
from include.sources.delivered_files import Deliveries, find_deliveries, require_columns
from include.sources.erased_customers import ErasedCustomers, read_erased
from include.sources.errors import NoRowsError
from include.sources.kept_days import require_kept
from include.sources.landing_lineage import record_table_read
from include.sources.read_files import read_files
from include.sources.read_table import SourceTable, find_table, read_table, require_table_columns

log = get_logger(__name__)

BLOCK_DAYS = 62
"""Number of days that are read together and written in one commit, which bounds memory."""


@dataclass(frozen=True)
class _Expected:
    """A delivery to load: its name in bronze, its size in bytes, and its address for messages."""

    name: str
    bytes: int | None
    where: str


def load_bronze(
    project: Project,
    lake: Lake,
    connections: Connections,
    days: DayRange,
    privacy: PrivacySettings = NO_KEYS,
) -> list[StepResult]:
    """Replace the bronze partitions of ``days`` by the deliveries for these days, source by source.

    Every file is opened and every table is looked up before anything is written. A database table of kind ``changes``
    holds only the latest version of a row: when a day is loaded again, bronze keeps the versions that the table no
    longer has. A database table of kind ``snapshot`` holds only its present state, which is loaded as the delivery of
    the last day, unless bronze already has a delivery of this day.

    The rows of erased customers are left out. The days are loaded again if a customer was erased in the meantime.

    Args:
        project: The project.
        lake: The lake.
        connections: The addresses of the sources.
        days: The days to load.
        privacy: The keys of the erased customers.

    Returns:
        A result for each source; ``detail`` has the number of the ``erased_rows`` that were left out, if any.

    Raises:
        RemovedDaysError: Rows that the days read were removed after their retention period; nothing is loaded.
        PrivacyKeyError: A key with which customers were erased is missing; nothing is loaded.
        ChurnflowError: A delivery cannot be read, or has no rows although it must have some. Earlier blocks of
            ``BLOCK_DAYS`` days are loaded; the block of the delivery is unchanged.
    """
    require_kept(project, lake, days)
    while True:
        erased = read_erased(lake, privacy)
        results = _load(project, lake, connections, days, erased)
        if read_erased(lake, privacy) == erased:
            return results


def _load(
    project: Project, lake: Lake, connections: Connections, days: DayRange, erased: ErasedCustomers
) -> list[StepResult]:
    found = {name: _find(name, project, connections, days) for name in project.sources}
    results, loaded = [], []
    for name, source in project.sources.items():
        start = time.perf_counter()
        table = lake.table(bronze_table(name))
        deliveries: list[LoadedDelivery] = []
        dropped, version, part = 0, -1, found[name]
        if isinstance(part, SourceTable) and not source.is_daily:
            deliveries, dropped, version = _load_state(name, part, lake, days, erased)
        else:
            for block in days.blocks(BLOCK_DAYS):
                some, fewer, version = _load_block(name, source, part, table, block, erased)
                deliveries += some
                dropped += fewer
        rows, seconds = sum(item.rows for item in deliveries), round(time.perf_counter() - start, 3)
        detail = {"erased_rows": dropped} if dropped else None
        result = StepResult(bronze_table(name), rows, 0, rows - dropped, version, seconds, detail)
        log.info("bronze loaded", extra=result.as_dict())
        results.append(result)
        loaded += deliveries
    record_deliveries(lake, days, loaded)
    return results


def _load_block(
    name: str,
    source: Source,
    found: Deliveries | SourceTable,
    table: Table,
    days: DayRange,
    erased: ErasedCustomers,
) -> tuple[list[LoadedDelivery], int, int]:
    part = found if isinstance(found, SourceTable) else found.within(days)
    rows = read_table(part, days) if isinstance(part, SourceTable) else read_files(source, part)
    if source.database and source.kind == "changes":
        rows = _keep_overwritten_versions(source, rows, table, days)
    deliveries = _count(name, rows, _expected(part, days))
    _require_rows(source, deliveries, _expected(part, days))
    kept = _without_erased(source, rows, erased)
    return deliveries, len(rows) - len(kept), table.replace(days, kept)


def _without_erased(source: Source, rows: pa.Table, erased: ErasedCustomers) -> pa.Table:
    return CustomerRows(source, erased.__contains__).without(rows) if erased and source.customer else rows


def _load_state(
    name: str, found: SourceTable, lake: Lake, days: DayRange, erased: ErasedCustomers
) -> tuple[list[LoadedDelivery], int, int]:
    table, known = lake.table(bronze_table(name)), recorded_deliveries(lake, name, days)
    recorded = {item.dt for item in known}
    if days.last in recorded:
        return known, 0, table.version()
    last = DayRange.single(days.last)
    rows, expected = read_table(found, last), _expected(found, last)
    loaded = _count(name, rows, expected)
    _require_rows(found.source, loaded, expected)
    kept = _without_erased(found.source, rows, erased)
    version = table.replace([day for day in days if day not in recorded], kept)
    return [*known, *loaded], len(rows) - len(kept), version


def _find(name: str, project: Project, connections: Connections, days: DayRange) -> Deliveries | SourceTable:
    source = project.sources[name]
    if source.database:
        table = find_table(source, connections, project.timezone)
        record_table_read(table, days)
        require_table_columns(table)
        return table
    deliveries = find_deliveries(name, source, connections, days)
    require_columns(source, deliveries)
    return deliveries


def _keep_overwritten_versions(source: Source, rows: pa.Table, table: Table, days: DayRange) -> pa.Table:
    if not table.exists():
        return rows
    engine = connect()
    loaded, fresh = table.scan(engine, days), ibis.memtable(rows)
    same = [loaded[column].identical_to(fresh[column]) for column in ["dt", *source.key]]
    overwritten = loaded.anti_join(fresh, same)
    last = fresh.group_by("dt").agg(last=fresh[ROW].max())
    # The kept rows are numbered after the fresh rows, in their earlier order, so a repeated load gives equal numbers.
    number = ibis.row_number().over(group_by=overwritten["dt"], order_by=overwritten[ROW]) + 1
    numbered = overwritten.mutate(**{ROW: number}).left_join(last, "dt")
    numbered = numbered.mutate(**{ROW: numbered[ROW] + numbered["last"].fill_null(0)})
    return pa.concat_tables([rows, numbered.select(*rows.column_names).to_pyarrow().cast(rows.schema)])


def _expected(found: Deliveries | SourceTable, days: DayRange) -> dict[dt.date, _Expected]:
    if isinstance(found, SourceTable):
        return {day: _Expected(found.delivery(day), None, found.where(day)) for day in days}
    return {item.day: _Expected(item.file.name, item.file.size, item.file.uri) for item in found.items}


def _count(name: str, rows: pa.Table, expected: dict[dt.date, _Expected]) -> list[LoadedDelivery]:
    counts = {item["values"]: item["counts"] for item in pc.value_counts(rows["dt"]).to_pylist()}
    return [LoadedDelivery(day, name, item.name, item.bytes, counts.get(day, 0)) for day, item in expected.items()]


def _require_rows(source: Source, loaded: list[LoadedDelivery], expected: dict[dt.date, _Expected]) -> None:
    empty = [item.dt for item in loaded if not item.rows]
    if empty and not source.allow_no_rows:
        raise NoRowsError(
            "The delivery has no rows.",
            where=expected[empty[0]].where,
            remedy=f"Ask {source.owner} to deliver it again, or set allow_no_rows in sources.yaml if this is normal.",
        )
