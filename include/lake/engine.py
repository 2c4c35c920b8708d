"""The compute engine: DuckDB through Ibis expressions, which other engines can run as well."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache

import duckdb
import fsspec
import ibis
import pyarrow as pa
from ibis.backends.duckdb import Backend


def connect() -> Backend:
    """Return a new DuckDB engine, whose temporary tables and views no other engine sees.

    All engines of a process belong to one in-memory database, since a new database takes 15 ms. The tables of an engine
    are released with it.

    Timestamps have no time zone. The session's time zone is UTC, so results do not depend on the machine. Insertion
    order is not preserved, which bounds the memory of large scans. Joins are executed in the order in which they are
    written, since DuckDB may otherwise join two small tables first whose product is large: days and reference rows.
    """
    backend: Backend = ibis.duckdb.from_connection(_database(os.getpid()).cursor())
    backend.raw_sql("SET TimeZone = 'UTC'")
    backend.raw_sql("SET preserve_insertion_order = false")
    backend.raw_sql("SET disabled_optimizers = 'join_order'")
    return backend


def stream(engine: Backend, expression: ibis.Table) -> pa.RecordBatchReader:
    """Return the rows of an expression as a stream, for rows that do not fit into memory.

    Args:
        engine: The engine.
        expression: An expression over tables of this engine.
    """
    # Ibis 12 calls a method for streams that DuckDB 2 no longer has.
    return engine.con.sql(engine.compile(expression)).to_arrow_reader()


@cache
def _database(process: int) -> duckdb.DuckDBPyConnection:
    # A forked process has its own database, since the threads of the parent's database do not exist there.
    return duckdb.connect()


def read_partitions(engine: Backend, files: Sequence[str]) -> ibis.Table:
    """Return the rows of Parquet files in Hive folders such as ``dt=2024-01-05``, as an expression.

    Files in an object store are read through fsspec, since DuckDB's own reader requires a download at run time.

    Args:
        engine: The engine.
        files: The paths of local files, or the addresses of files in one object store.
    """
    protocol, _, rest = files[0].partition("://")
    if not rest:
        return engine.read_parquet(files, hive_partitioning=True, hive_types_autocast=False, union_by_name=True)
    if not engine.con.filesystem_is_registered(protocol):
        engine.con.register_filesystem(fsspec.filesystem(protocol))
    name = ibis.util.gen_name("partitions")
    paths = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
    engine.raw_sql(
        f"CREATE TEMP VIEW {name} AS SELECT * FROM read_parquet([{paths}], hive_partitioning = true,"  # noqa: S608
        " hive_types_autocast = false, union_by_name = true)"
    )
    return engine.table(name)
