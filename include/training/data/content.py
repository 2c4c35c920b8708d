"""Checksums of rows that depend on their values alone, not on the file or the library that holds them."""

from __future__ import annotations

import hashlib

import pandas as pd
import pyarrow as pa
import pyarrow.types as pt


def column_checksums(rows: pa.Table) -> dict[str, str]:
    """Return the checksum of every column's values, in the order of the rows.

    Two Parquet files of the same rows may differ in their bytes, by compression or the writer's version; these do not.
    Numbers count with all their bits, and a null is the same as NaN.

    Examples:
        >>> whole, halves = pa.chunked_array([[1.0, 2.0]]), pa.chunked_array([[1.0], [2.0]])
        >>> column_checksums(pa.table({"a": whole})) == column_checksums(pa.table({"a": halves}))
        True
    """
    return {name: _checksum(rows[name]) for name in rows.column_names}


def _checksum(column: pa.ChunkedArray) -> str:
    plain = column.cast(pa.string()) if pt.is_temporal(column.type) else column
    values = pd.util.hash_pandas_object(plain.to_pandas(), index=False)
    return hashlib.sha256(values.to_numpy().tobytes()).hexdigest()
