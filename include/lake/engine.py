"""The compute engine. Expressions are written in Ibis, so that another engine can run the same ones."""

from __future__ import annotations

from collections.abc import Sequence

import fsspec
import ibis
from ibis.backends.duckdb import Backend


def connect() -> Backend:
    """Return a new in-memory DuckDB engine; two never share state.

    Times are plain wall-clock times, as the sources write them: the session's zone is fixed to UTC so that a result
    does not depend on the machine. Insertion order is not kept, which bounds memory on large scans.
    """
    backend: Backend = ibis.duckdb.connect()
    backend.raw_sql("SET TimeZone = 'UTC'")
    backend.raw_sql("SET preserve_insertion_order = false")
    return backend


def read_partitions(engine: Backend, files: Sequence[str]) -> ibis.Table:
    """Return the rows of Parquet ``files`` in Hive folders, ``dt=2024-01-05`` and the like, as an expression.

    Files in an object store are read through fsspec: DuckDB's own way would download an extension first.

    Args:
        engine: The engine.
        files: Paths, or addresses of one object store.
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
