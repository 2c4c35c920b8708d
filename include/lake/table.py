"""Delta tables with one partition per day.

A reader lists the files of one table version in Delta's log and scans them as Parquet, so it never reads a partly
replaced partition.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import Any

import fsspec
import ibis
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from include.days import DayRange
from include.errors import ChurnflowError
from include.lake.conditional_writes import require_conditional_writes
from include.lake.engine import DAY, Engine, connect, connect_to, day_of
from include.lineage import record_read, record_write
from include.local_files import disk_full_errors
from include.settings import EngineName, Settings

# Each opening of a table reads all commits after the last checkpoint. By Delta's default, these are up to 100 days.
# Statistics of columns would put the smallest and the largest id of a file into Delta's log; no reader uses them.
_CONFIGURATION = {"delta.checkpointInterval": "10", "delta.dataSkippingNumIndexedCols": "0"}
# The description of a table in Delta's log states the format of its rows; Delta Lake refuses properties of its users.
# Tables of release 0.1.0 have no description. Another format needs a step in include/upgrade.
FORMAT = "churnflow format 2"


class LakeError(ChurnflowError):
    """A table does not exist, or a read or write of it is invalid."""


class OutdatedTableError(LakeError):
    """Another release wrote a table, and this release may read its rows wrongly."""


class ConflictError(LakeError):
    """Concurrent runs replaced the days that a step reads, during each of its attempts."""

    can_retry = True


@dataclass(frozen=True)
class StepResult:
    """Counts and references that a step reports on one table, without rows.

    Attributes:
        table: The name of the table written.
        rows_read: The number of input rows.
        rows_refused: The number of rows sent to quarantine.
        rows_written: The number of rows in the replaced partitions.
        version: The Delta version after the write.
        seconds: The wall time.
        detail: Further references, such as a report's path.
    """

    table: str
    rows_read: int
    rows_refused: int
    rows_written: int
    version: int
    seconds: float
    detail: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON types, for XCom."""
        return asdict(self)


class Lake:
    """The tables of one project.

    Args:
        uri: The path of a folder, or an address in an object store.
        versions: The Delta versions at which tables are read, by table name; other tables are read at their current
            version.
        engine: The engine of ``connect``.
        any_format: Whether tables of other releases can be opened, for an upgrade.

    Examples:
        >>> Lake("var/lake/grocery").table("gold/features").uri
        'var/lake/grocery/gold/features'
    """

    def __init__(
        self,
        uri: str,
        versions: Mapping[str, int] | None = None,
        engine: EngineName = "duckdb",
        *,
        any_format: bool = False,
    ) -> None:
        self.uri = uri.rstrip("/")
        self._versions = dict(versions or {})
        self._engine: EngineName = engine
        self._any_format = any_format

    def at(self, versions: Mapping[str, int]) -> Lake:
        """Return this lake with the tables of ``versions`` at these Delta versions, read-only."""
        return Lake(self.uri, versions, self._engine, any_format=self._any_format)

    def table(self, name: str) -> Table:
        """Return the table ``name``, such as ``silver/transactions``, which need not exist."""
        return Table(f"{self.uri}/{name}", name, self._versions.get(name), any_format=self._any_format)

    def connect(self) -> Engine:
        """Return a new engine of the deployment, for steps whose rows may not fit into the memory of this process.

        Raises:
            EngineError: Spark does not start, or is not installed.
        """
        return connect_to(self._engine)

    def table_names(self) -> list[str]:
        """Return the names of the existing tables, sorted."""
        files, root = fsspec.url_to_fs(self.uri)
        files.invalidate_cache()
        logs = files.glob(f"{root}/*/*/_delta_log")
        return sorted(str(PurePath(log).parent.relative_to(root)) for log in logs)


def open_lake(settings: Settings, *, any_format: bool = False) -> Lake:
    """Return the lake of the settings' project.

    Args:
        settings: The deployment.
        any_format: Whether tables of other releases can be opened, for an upgrade.
    """
    return Lake(f"{settings.lake_uri}/{settings.project}", engine=settings.engine, any_format=any_format)


class Table:
    """One Delta table, partitioned by ``dt``.

    Args:
        uri: The table's address.
        name: The table's name within the lake, for messages.
        at: The Delta version to read; the current version by default.
        any_format: Whether the table may be of another release.
    """

    def __init__(self, uri: str, name: str, at: int | None = None, *, any_format: bool = False) -> None:
        self.uri = uri
        self.name = name
        self._at = at
        # An earlier version is read to build what it was read for again.
        self._any_format = any_format or at is not None

    def exists(self) -> bool:
        """Return whether the table exists."""
        return bool(DeltaTable.is_deltatable(self.uri))

    def version(self) -> int:
        """Return the Delta version.

        Raises:
            LakeError: The table does not exist.
        """
        return int(self._open().version())

    def written_at(self) -> dt.datetime:
        """Return the time of the newest commit, in UTC.

        Raises:
            LakeError: The table does not exist.
        """
        return dt.datetime.fromtimestamp(self._open().history(1)[0]["timestamp"] / 1000, dt.UTC)

    def days(self) -> list[dt.date]:
        """Return the days with rows, sorted; empty if the table does not exist."""
        if not self.exists():
            return []
        return sorted(dt.date.fromisoformat(part[DAY]) for part in self._open().partitions())

    def schema(self) -> pa.Schema:
        """Return the table's schema.

        Raises:
            LakeError: The table does not exist.
        """
        return _plain(pa.schema(self._open().schema()))

    def count(self) -> int:
        """Return the number of rows from Delta's log; zero if the table does not exist."""
        if not self.exists():
            return 0
        return int(pc.sum(pa.table(self._open().get_add_actions(flatten=True))["num_records"]).as_py() or 0)

    def row_counts(self, days: DayRange | Sequence[dt.date]) -> dict[dt.date, int]:
        """Return the number of rows of each day with rows, from Delta's log."""
        if not self.exists():
            return {}
        counts: dict[dt.date, int] = {}
        files = pa.table(self._open().get_add_actions(flatten=True)).select([f"partition.{DAY}", "num_records"])
        for text, rows in zip(*files.to_pydict().values(), strict=True):
            day = dt.date.fromisoformat(str(text))
            if day in days:
                counts[day] = counts.get(day, 0) + rows
        return counts

    def files(self, days: DayRange | Sequence[dt.date]) -> frozenset[str]:
        """Return the files of ``days``; equal sets have equal rows. The set is empty if the table does not exist."""
        wanted = set(days)
        return frozenset(uri for day, uris in self.partitions().items() if day in wanted for uri in uris)

    def partitions(self) -> dict[dt.date, frozenset[str]]:
        """Return the files of each day with rows; empty if the table does not exist."""
        if not self.exists():
            return {}
        found: dict[dt.date, set[str]] = {}
        for uri in self._open().file_uris():
            found.setdefault(dt.date.fromisoformat(day_of(uri)), set()).add(uri)
        return {day: frozenset(uris) for day, uris in found.items()}

    def replace(self, days: DayRange | Sequence[dt.date], rows: pa.Table | pa.RecordBatchReader) -> int:
        """Replace the partitions of ``days`` in one commit, and return the new Delta version.

        A day without new rows becomes empty. New columns are added to the table.

        Args:
            days: The days to replace; the ``dt`` of each row must be one of them.
            rows: The new rows, with a ``dt`` column of type date.

        Raises:
            LakeError: A row is outside ``days``, or the table is read-only; the table is unchanged.
            ConditionalWriteError: The table does not exist, and its object store has no conditional writes.
            DiskFullError: The disk is full; the table is unchanged.
        """
        if self._at is not None:
            raise LakeError(
                f"Table {self.name} is open at version {self._at}, which is read-only.",
                where=self.uri,
                remedy="Open the lake without versions.",
            )
        predicate = day_predicate(days)
        if isinstance(rows, pa.Table):
            self._check_days(days, rows)
        with disk_full_errors(self.uri):
            self._create(rows.schema)
            version = self._commit(rows, predicate)
        record_write(self.name, self.uri, version, rows.schema)
        return version

    def has_format(self) -> bool:
        """Return whether the table has the format of this release.

        Raises:
            LakeError: The table does not exist.
        """
        return bool(self._open().metadata().description == FORMAT)

    def set_format(self) -> None:
        """Give the table the properties and the format of a new table; its rows are unchanged."""
        table = DeltaTable(self.uri)
        table.alter.set_table_properties(_CONFIGURATION)
        table.alter.set_table_description(FORMAT)

    def read(self, days: DayRange | Sequence[dt.date], columns: list[str] | None = None) -> pa.Table:
        """Return the rows of ``days``.

        Args:
            days: The days.
            columns: The columns; all by default.

        Raises:
            LakeError: The table does not exist.
        """
        expression = self.scan(connect(), days)
        return (expression.select(columns) if columns else expression).to_pyarrow()

    def stream(self, days: DayRange | Sequence[dt.date]) -> pa.RecordBatchReader:
        """Return the rows of ``days`` as a stream, for rows that do not fit into memory.

        Raises:
            LakeError: The table does not exist.
        """
        if not self.files(days):
            return pa.RecordBatchReader.from_batches(self.schema(), [])
        engine = connect()
        return engine.stream(self.scan(engine, days))

    def scan(self, engine: Engine, days: DayRange | Sequence[dt.date]) -> ibis.Table:
        """Return the rows of ``days`` as an expression; only the files of these days are opened.

        Args:
            engine: The engine.
            days: The days.

        Raises:
            LakeError: The table does not exist, or no longer has files of its version.
        """
        table = self._open()
        wanted = {str(day) for day in days}
        files = [uri for uri in table.file_uris() if day_of(uri) in wanted]
        columns = _plain(pa.schema(table.schema()))
        record_read(self.name, self.uri, table.version(), columns)
        schema = ibis.Schema.from_pyarrow(columns)
        if not files:
            return ibis.memtable(schema.to_pyarrow().empty_table())
        if self._at is not None and not self._has(files):
            raise self._no_version()
        return engine.read_partitions(table, files, schema)

    def _open(self) -> DeltaTable:
        try:
            for attempt in Retrying(
                retry=retry_if_exception(_is_removed_log),
                stop=stop_after_attempt(5),
                wait=wait_random_exponential(multiplier=0.05, max=1),
                reraise=True,
            ):
                with attempt:
                    table = DeltaTable(self.uri, version=self._at)
        except DeltaError as error:
            if self._at is not None:
                raise self._no_version() from error
            if not isinstance(error, TableNotFoundError):
                raise
            raise LakeError(
                f"Table {self.name} does not exist yet.", where=self.uri, remedy="Run churn_ingest for some days first."
            ) from error
        if not self._any_format and (found := table.metadata().description) != FORMAT:
            raise OutdatedTableError(
                f"Table {self.name} has {found or 'the format of release 0.1.0'}; this release reads {FORMAT}.",
                where=self.uri,
                remedy="Run `python -m include.upgrade`, or use the release that wrote the table.",
            )
        return table

    def _has(self, files: Sequence[str]) -> bool:
        system, root = fsspec.url_to_fs(self.uri)
        system.invalidate_cache()
        found = {PurePath(path).name for path in system.find(root)}  # the names are unique
        return found.issuperset(PurePath(uri).name for uri in files)

    def _no_version(self) -> LakeError:
        return LakeError(
            f"Table {self.name} has no version {self._at}, or no longer has its files: files of earlier versions are"
            " deleted after a week, and by an erasure.",
            where=self.uri,
            remedy="Rebuild the table from the raw data.",
        )

    def _create(self, schema: pa.Schema) -> None:
        if not self.exists():
            if "://" in self.uri:
                require_conditional_writes(self.uri)
            DeltaTable.create(
                self.uri, schema, mode="ignore", partition_by=[DAY], configuration=_CONFIGURATION, description=FORMAT
            )

    # Writers of different days do not conflict. Of two writers of the same day, the later writer repeats its commit. A
    # stream is consumed by the first attempt, so it is not written again.
    def _commit(self, rows: pa.Table | pa.RecordBatchReader, predicate: str) -> int:
        for attempt in commit_attempts(6 if isinstance(rows, pa.Table) else 1):
            with attempt:
                write_deltalake(
                    self._open(),
                    rows,
                    mode="overwrite",
                    predicate=predicate,
                    schema_mode="merge",
                    commit_properties=CommitProperties(custom_metadata={"days": predicate}),
                )
        return self.version()

    def _check_days(self, days: DayRange | Sequence[dt.date], rows: pa.Table) -> None:
        outside = sorted(set(pc.unique(rows[DAY]).to_pylist()) - set(days))
        if outside:
            raise LakeError(
                f"Rows of {outside[0]} cannot replace the days {day_predicate(days)}.",
                where=self.uri,
                remedy="Pass the days of the rows.",
            )


def commit_attempts(times: int) -> Retrying:
    """Return the attempts of a commit, which is repeated while it fails because of concurrent commits.

    Args:
        times: The largest number of attempts.
    """
    return Retrying(
        retry=retry_if_exception(is_conflict),
        stop=stop_after_attempt(times),
        wait=wait_random_exponential(multiplier=0.2, max=5),
        reraise=True,
    )


def is_conflict(error: BaseException) -> bool:
    """Return whether a commit failed because of a concurrent commit, so that it can be repeated."""
    return isinstance(error, CommitFailedError) or _is_removed_log(error)


def _is_removed_log(error: BaseException) -> bool:
    """Return whether files of the log were missing, for example because an erasure removed them at this moment."""
    text = str(error)
    is_missing = "Invalid table version" in text or ("_delta_log" in text and "not found" in text.lower())
    return isinstance(error, DeltaError) and not isinstance(error, TableNotFoundError) and is_missing


def day_predicate(days: DayRange | Sequence[dt.date]) -> str:
    """Return the SQL condition that a row is of one of the days."""
    if isinstance(days, DayRange):
        return f"{DAY} >= '{days.first}' AND {DAY} <= '{days.last}'"
    return f"{DAY} IN ({', '.join(repr(str(day)) for day in days)})"


def _plain(schema: pa.Schema) -> pa.Schema:
    # Delta reports Arrow view types, which Ibis does not support.
    def plain(kind: pa.DataType) -> pa.DataType:
        return pa.string() if kind in (pa.string_view(), pa.large_string()) else kind

    return pa.schema([pa.field(field.name, plain(field.type)) for field in schema])
