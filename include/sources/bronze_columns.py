"""The columns of a bronze table: those that the source declares, as text, and bronze's own."""

from __future__ import annotations

import pyarrow as pa

from include.projects import Source

FILE, ROW, UNDECLARED = "_file", "_row", "_undeclared"
"""Bronze's own columns: the file, the row's number in it from 1, and undeclared columns as JSON text."""


def bronze_schema(source: Source) -> pa.Schema:
    """Return the schema of the source's bronze table."""
    text = [pa.field(name, pa.string()) for name in [*source.columns, UNDECLARED, FILE]]
    return pa.schema([*text, pa.field(ROW, pa.int64()), pa.field("dt", pa.date32())])
