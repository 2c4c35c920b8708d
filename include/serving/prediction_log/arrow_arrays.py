"""Arrow columns from NumPy arrays and lists, without ``pyarrow.array``: that looks for pandas on its first call.

Where pandas is installed its import would stop the first requests for a second, and the endpoint hides it from XGBoost,
which ``pyarrow.array`` takes for a broken installation.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_EPOCH = dt.date(1970, 1, 1).toordinal()


def numbers(values: NDArray[Any], kind: pa.DataType) -> pa.Array:
    """Return ``values``, whose items are as wide as those of ``kind``, without nulls and without a copy."""
    return pa.Array.from_buffers(kind, values.size, [None, pa.py_buffer(np.ascontiguousarray(values).reshape(-1))])


def flags(values: NDArray[np.bool_]) -> pa.Array:
    """Return Booleans, without nulls."""
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, _bits(values)])


def texts(values: Sequence[str]) -> pa.Array:
    """Return texts, without nulls; half a surrogate pair, which is no text, becomes a question mark."""
    encoded = [value.encode(errors="replace") for value in values]
    offsets = np.zeros(len(encoded) + 1, dtype=np.int32)
    np.cumsum([len(value) for value in encoded], out=offsets[1:])
    return pa.Array.from_buffers(
        pa.string(), len(encoded), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    )


def days(values: Sequence[dt.date | None]) -> pa.Array:
    """Return days, with nulls."""
    present = np.array([value is not None for value in values], dtype=np.bool_)
    numbered = np.array([value.toordinal() - _EPOCH if value else 0 for value in values], dtype=np.int32)
    return pa.Array.from_buffers(pa.date32(), len(values), [_bits(present), pa.py_buffer(numbered)])


def vectors(matrix: NDArray[np.float32]) -> pa.Array:
    """Return the rows of a matrix (n, k) as lists of k numbers, without a copy."""
    return pa.FixedSizeListArray.from_arrays(numbers(matrix, pa.float32()), matrix.shape[1])


def _bits(values: NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))
