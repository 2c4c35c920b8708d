"""Delta tables with one partition per day.

Readers list the files of one table version through Delta's log and scan them as Parquet, so that they see a replaced
partition wholly or not at all.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import fsspec
import ibis
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from include.days import DayRange
from include.errors import ChurnflowError
from include.lake.engine import connect, read_partitions
from include.local_files import disk_full_errors
from include.settings import Settings

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

DAY = "dt"
"""The partition column of every table."""


class LakeError(ChurnflowError):
    """A lake table cannot be read or written as asked."""


@dataclass(frozen=True)
class StepResult:
    """Counts and references that a step reports on one table; it contains no rows.

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
    """The tables of one project below one address.

    Args:
        uri: A folder or an object-store address.
        versions: Delta versions at which tables are read, by name; the others are read as they are now.

    Examples:
        >>> Lake("var/lake/grocery").table("gold/features").uri
        'var/lake/grocery/gold/features'
    """

    def __init__(self, uri: str, versions: Mapping[str, int] | None = None) -> None:
        self.uri = uri.rstrip("/")
        self._versions = dict(versions or {})

    def at(self, versions: Mapping[str, int]) -> Lake:
        """Return this lake with the tables of ``versions`` as they were then; they can only be read."""
        return Lake(self.uri, versions)

    def table(self, name: str) -> Table:
        """Return the table ``name``, such as ``silver/transactions``, whether or not it exists yet."""
        return Table(f"{self.uri}/{name}", name, self._versions.get(name))

    def table_names(self) -> list[str]:
        """Return the names of the tables that exist, sorted."""
        files, root = fsspec.url_to_fs(self.uri)
        files.invalidate_cache()
        logs = files.glob(f"{root}/*/*/_delta_log")
        return sorted(str(PurePath(log).parent.relative_to(root)) for log in logs)


def open_lake(settings: Settings) -> Lake:
    """Return the lake of the settings' project."""
    return Lake(f"{settings.lake_uri}/{settings.project}")


class Table:
    """One Delta table, partitioned by ``dt``.

    Args:
        uri: Its address.
        name: Its name within the lake, for messages.
        at: The Delta version read; the current one by default.
    """

    def __init__(self, uri: str, name: str, at: int | None = None) -> None:
        self.uri = uri
        self.name = name
        self._at = at

    def exists(self) -> bool:
        """Return whether anything was ever written."""
        return bool(DeltaTable.is_deltatable(self.uri))

    def version(self) -> int:
        """Return the Delta version read.

        Raises:
            LakeError: The table does not exist.
        """
        return int(self._open().version())

    def days(self) -> list[dt.date]:
        """Return the days that have rows, sorted; none when the table does not exist."""
        if not self.exists():
            return []
        return sorted(dt.date.fromisoformat(part[DAY]) for part in self._open().partitions())

    def schema(self) -> pa.Schema:
        """Return the table's columns and types.

        Raises:
            LakeError: The table does not exist.
        """
        return _plain(pa.schema(self._open().schema()))

    def count(self) -> int:
        """Return the number of rows, from Delta's log alone; zero when the table does not exist."""
        if not self.exists():
            return 0
        return int(pc.sum(pa.table(self._open().get_add_actions(flatten=True))["num_records"]).as_py() or 0)

    def row_counts(self, days: DayRange | Sequence[dt.date]) -> dict[dt.date, int]:
        """Return how many rows each of ``days`` has, from Delta's log alone; days without rows are left out."""
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
        """Return the files of ``days``: the same set means the same rows. None when the table does not exist."""
        wanted = set(days)
        return frozenset(uri for day, uris in self.partitions().items() if day in wanted for uri in uris)

    def partitions(self) -> dict[dt.date, frozenset[str]]:
        """Return the files of every day that has rows; none when the table does not exist."""
        if not self.exists():
            return {}
        found: dict[dt.date, set[str]] = {}
        for uri in self._open().file_uris():
            found.setdefault(dt.date.fromisoformat(_day_of(uri)), set()).add(uri)
        return {day: frozenset(uris) for day, uris in found.items()}

    def replace(self, days: DayRange | Sequence[dt.date], rows: pa.Table | pa.RecordBatchReader) -> int:
        """Replace the partitions of ``days`` by ``rows`` in one commit, and return the new Delta version.

        Those of the days that have no row lose the rows that they had. Columns that the table lacks are added.

        Args:
            days: The partitions replaced; every row's ``dt`` must lie in them.
            rows: Rows with a ``dt`` column of type date.

        Raises:
            LakeError: A row lies outside of the days, or the table is read at an earlier version; it is as it was.
            DiskFullError: There is no space left; the table is as it was.
        """
        if self._at is not None:
            raise LakeError(
                f"Table {self.name} is open at version {self._at}, which can only be read.",
                where=self.uri,
                remedy="Open the lake without naming versions.",
            )
        predicate = _predicate(days)
        if isinstance(rows, pa.Table):
            self._refuse_rows_outside(days, rows)
        with disk_full_errors(self.uri):
            self._create(rows.schema)
            return self._commit(rows, predicate)

    def read(self, days: DayRange | Sequence[dt.date], columns: list[str] | None = None) -> pa.Table:
        """Return the rows of ``days``, with ``columns`` or all of them."""
        expression = self.scan(connect(), days)
        return (expression.select(columns) if columns else expression).to_pyarrow()

    def stream(self, days: DayRange | Sequence[dt.date]) -> pa.RecordBatchReader:
        """Return the rows of ``days`` as a stream, for days that need not fit into memory.

        Raises:
            LakeError: The table does not exist.
        """
        if not self.files(days):
            return pa.RecordBatchReader.from_batches(self.schema(), [])
        engine = connect()
        # Ibis asks DuckDB 2 for a stream by a name that it no longer has.
        return engine.con.sql(engine.compile(self.scan(engine, days))).to_arrow_reader()

    def scan(self, engine: Backend, days: DayRange | Sequence[dt.date]) -> ibis.Table:
        """Return the rows of ``days`` as an expression on ``engine``; only their files are opened.

        Raises:
            LakeError: The table does not exist.
        """
        table = self._open()
        wanted = {str(day) for day in days}
        files = [uri for uri in table.file_uris() if _day_of(uri) in wanted]
        schema = ibis.Schema.from_pyarrow(_plain(pa.schema(table.schema())))
        if not files:
            return ibis.memtable(schema.to_pyarrow().empty_table())
        scan = read_partitions(engine, files)
        # A file that was written before a column was added has no such column.
        return scan.select(
            **{
                name: scan[name].cast(kind) if name in scan.columns else ibis.null(kind)
                for name, kind in schema.items()
            }
        )

    def _open(self) -> DeltaTable:
        try:
            return DeltaTable(self.uri, version=self._at)
        except TableNotFoundError as error:
            raise LakeError(
                f"Table {self.name} does not exist yet.", where=self.uri, remedy="Run churn_ingest for some days first."
            ) from error
        except DeltaError as error:
            if self._at is None:
                raise
            raise LakeError(
                f"Table {self.name} has no version {self._at}.",
                where=self.uri,
                remedy="Rebuild it from the raw data, or name a version that Delta's log still has.",
            ) from error

    def _create(self, schema: pa.Schema) -> None:
        if not self.exists():
            DeltaTable.create(self.uri, schema, mode="ignore", partition_by=[DAY])

    # Two writers of disjoint days do not conflict; two of the same day do, and the later one simply writes again. Not
    # so with a stream: it is spent, and writing it again would leave the days empty.
    def _commit(self, rows: pa.Table | pa.RecordBatchReader, predicate: str) -> int:
        for attempt in Retrying(
            retry=retry_if_exception_type(CommitFailedError),
            stop=stop_after_attempt(6 if isinstance(rows, pa.Table) else 1),
            wait=wait_random_exponential(multiplier=0.2, max=5),
            reraise=True,
        ):
            with attempt:
                write_deltalake(
                    self.uri,
                    rows,
                    mode="overwrite",
                    predicate=predicate,
                    schema_mode="merge",
                    commit_properties=CommitProperties(custom_metadata={"days": predicate}),
                )
        return int(DeltaTable(self.uri).version())

    def _refuse_rows_outside(self, days: DayRange | Sequence[dt.date], rows: pa.Table) -> None:
        strangers = sorted(set(pc.unique(rows[DAY]).to_pylist()) - set(days))
        if strangers:
            raise LakeError(
                f"Rows of {strangers[0]} were to replace the days {_predicate(days)}.",
                where=self.uri,
                remedy="Give the days that the rows belong to.",
            )


def _predicate(days: DayRange | Sequence[dt.date]) -> str:
    if isinstance(days, DayRange):
        return f"{DAY} >= '{days.first}' AND {DAY} <= '{days.last}'"
    return f"{DAY} IN ({', '.join(repr(str(day)) for day in days)})"


def _day_of(uri: str) -> str:
    return uri.split(f"/{DAY}=", 1)[1].split("/", 1)[0]


def _plain(schema: pa.Schema) -> pa.Schema:
    # Delta reports Arrow view types, which Ibis does not know.
    def plain(kind: pa.DataType) -> pa.DataType:
        return pa.string() if kind in (pa.string_view(), pa.large_string()) else kind

    return pa.schema([pa.field(field.name, plain(field.type)) for field in schema])
