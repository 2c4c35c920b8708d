"""The compute engines: DuckDB in this process, or Spark. Both compute the same Ibis expressions.

``CHURN_ENGINE`` selects the engine of the steps from bronze to gold, of the labels and of the scores. Steps whose rows
fit into the memory of this process, such as audits and monitoring, always use DuckDB.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

import duckdb
import ibis
import pyarrow as pa
from ibis.backends.duckdb import Backend

from include.errors import ChurnflowError
from include.settings import EngineName

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from include.lake.spark import SparkEngine


DAY = "dt"
"""The partition column of every table."""


NO_EXTENSIONS: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
"""The options with which DuckDB neither downloads nor loads an extension that is not built in."""


class EngineError(ChurnflowError):
    """Spark is not installed, or does not start."""


class DuckDBEngine(Backend):  # type: ignore[misc]
    """DuckDB in this process."""

    def read_partitions(self, table: DeltaTable, files: Sequence[str], schema: ibis.Schema) -> ibis.Table:
        """Return the rows of files of a Delta table, which are in folders such as ``dt=2024-01-05``, as an expression.

        DuckDB's own reader reads local files. It requires a download at run time for files in an object store, so Delta
        reads these.

        Args:
            table: The table.
            files: The addresses of files of the table, at least one.
            schema: The columns of the table; a file that is older than a column does not contain the column.
        """
        name = ibis.util.gen_name("partitions")
        if "://" in files[0]:
            days = sorted({day_of(file) for file in files})
            self.con.register(name, table.to_pyarrow_dataset(file_pruning_predicate=[(DAY, "in", days)]))
        else:
            paths = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
            self.raw_sql(
                f"CREATE TEMP VIEW {name} AS SELECT * FROM read_parquet([{paths}], hive_partitioning = true,"  # noqa: S608
                " hive_types_autocast = false, union_by_name = true)"
            )
        found = self.table(name)
        return found.select(
            **{
                column: found[column].cast(kind) if column in found.columns else ibis.null(kind)
                for column, kind in schema.items()
            }
        )

    def map_rows(self, rows: ibis.Table, function: Callable[[ibis.Table], ibis.Table]) -> ibis.Table:
        """Apply an expression that computes each row from one row, such as the conversion of texts to types.

        Args:
            rows: The rows.
            function: Returns the expression over its argument.
        """
        return function(rows)

    def stream(self, expression: ibis.Table) -> pa.RecordBatchReader:
        """Return the rows of an expression as a stream, for rows that do not fit into memory.

        Args:
            expression: An expression over tables of this engine.
        """
        # Ibis 12 calls a method for streams that DuckDB 2 no longer has.
        return self.con.sql(self.compile(expression)).to_arrow_reader()


Engine: TypeAlias = "DuckDBEngine | SparkEngine"


def connect() -> DuckDBEngine:
    """Return a new DuckDB engine, whose temporary tables and views no other engine sees.

    All engines of a process belong to one in-memory database, since a new database takes 15 ms. The tables of an engine
    are released with it.

    Timestamps have no time zone. The session's time zone is UTC, so results do not depend on the machine. Insertion
    order is not preserved, which bounds the memory of large scans. Joins are executed in the order in which they are
    written, since DuckDB may otherwise join two small tables first whose product is large: days and reference rows.
    """
    engine: DuckDBEngine = DuckDBEngine.from_connection(_database(os.getpid()).cursor())
    engine.raw_sql("SET TimeZone = 'UTC'")
    engine.raw_sql("SET preserve_insertion_order = false")
    engine.raw_sql("SET disabled_optimizers = 'join_order'")
    return engine


def connect_to(engine: EngineName) -> Engine:
    """Return a new engine by its name.

    Args:
        engine: ``duckdb`` or ``spark``.

    Raises:
        EngineError: Spark does not start, or is not installed.
    """
    if engine == "duckdb":
        return connect()
    try:
        from include.lake.spark import connect_spark
    except ModuleNotFoundError as error:
        raise EngineError(
            "Spark is not installed.", where="CHURN_ENGINE=spark", remedy="Install requirements-spark.txt: make spark."
        ) from error
    return connect_spark()


def day_of(uri: str) -> str:
    """Return the day of a file of a table, from the name of its folder."""
    return uri.split(f"/{DAY}=", 1)[1].split("/", 1)[0]


@cache
def _database(process: int) -> duckdb.DuckDBPyConnection:
    # A forked process has its own database, since the threads of the parent's database do not exist there.
    return duckdb.connect(config={**NO_EXTENSIONS})
