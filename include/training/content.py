"""A checksum of rows that depends on their values alone, not on the file or the library that holds them."""

from __future__ import annotations

import hashlib
import json

import pandas as pd
import pyarrow as pa
import pyarrow.types as pt


def content_sha256(rows: pa.Table) -> str:
    """Return the checksum of the rows' column names and values, in their order.

    Two Parquet files of the same rows may differ in their bytes, by compression or the writer's version; this does not.
    Numbers count with all their bits, and a null is the same as NaN.

    Example:
        >>> whole, halves = pa.chunked_array([[1.0, 2.0]]), pa.chunked_array([[1.0], [2.0]])
        >>> content_sha256(pa.table({"a": whole})) == content_sha256(pa.table({"a": halves}))
        True
    """
    digest = hashlib.sha256(json.dumps(rows.column_names).encode())
    frame = pa.table({name: _plain(rows[name]) for name in rows.column_names}).to_pandas()
    digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string()) if pt.is_temporal(column.type) else column
