"""The compute engine. Expressions are written in Ibis, so that another engine can run the same ones."""

from __future__ import annotations

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
