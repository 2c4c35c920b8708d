"""From a gold day to packed rows, a slice at a time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from include.serving.online_store.base import StoreError
from include.serving.online_store.layout import HEADER_BYTES, Column, RowLayout, header

_CUSTOMER, _DAY = "customer_id", "dt"
_SLICE_ROWS = 20_000
_NUMPY = {"f": "f4", "d": "f8", "H": "u2", "I": "u4"}
_UINT16_MAX = 2**16 - 1


@dataclass(frozen=True)
class PackedSlice:
    """Some customers of a day, ordered by their ids.

    Attributes:
        customers: Their ids as UTF-8.
        rows: Their packed rows, one after the other.
        width: The bytes of one row.
    """

    customers: list[bytes]
    rows: bytes
    width: int

    def items(self) -> list[tuple[bytes, memoryview]]:
        """Return each customer with the packed row."""
        view, width = memoryview(self.rows), self.width
        return [(key, view[i * width : (i + 1) * width]) for i, key in enumerate(self.customers)]


def layout_of(rows: pa.Table) -> RowLayout:
    """Return the layout of a day's rows: the narrowest that loses nothing.

    Raises:
        StoreError: A column is neither of numbers nor of texts.
    """
    names = [name for name in rows.column_names if name not in (_CUSTOMER, _DAY)]
    return RowLayout(columns=tuple(_column(name, rows) for name in names))


def packed_slices(day: dt.date, rows: pa.Table, layout: RowLayout) -> Iterator[PackedSlice]:
    """Yield a day's rows by rising customer id: a tree that is filled in its order is a fifth smaller.

    Args:
        day: The day of the rows.
        rows: Rows of ``gold/features``.
        layout: Their layout.
    """
    # Columns by position: names are the business's, and one may be called like the header.
    columns = [(f"c{i}", column) for i, column in enumerate(layout.columns)]
    places = [(place, f"<{_NUMPY[column.code]}") for place, column in columns]
    record = np.dtype([("header", f"V{HEADER_BYTES}"), *places])
    start = np.frombuffer(header(day, layout.key), dtype=record["header"])[0]
    customers = rows[_CUSTOMER].cast(pa.string())
    order = pc.sort_indices(customers)
    for first in range(0, rows.num_rows, _SLICE_ROWS):
        taken = order.slice(first, _SLICE_ROWS)
        part = rows.take(taken)
        packed = np.empty(len(taken), dtype=record)
        packed["header"] = start
        for place, column in columns:
            packed[place] = _positions(column, part) if column.categories else _numbers(column.name, part)
        ids = [text.encode() for text in customers.take(taken).to_pylist()]
        yield PackedSlice(ids, packed.tobytes(), record.itemsize)


def _column(name: str, rows: pa.Table) -> Column:
    nullable = rows[name].null_count > 0
    if _is_text(rows.schema.field(name).type):
        texts = tuple(sorted(rows[name].cast(pa.string()).unique().drop_null().to_pylist()))
        # A column without a single text is one of nothing but nulls, which are numbers as well.
        code: Literal["f", "d", "H", "I"] = ("H" if len(texts) <= _UINT16_MAX else "I") if texts else "f"
        return Column(name=name, code=code, categories=texts, nullable=nullable)
    numbers = _numbers(name, rows)
    absent = np.isnan(numbers)
    with np.errstate(over="ignore"):
        exact = bool((absent | (numbers.astype(np.float32) == numbers)).all())
    return Column(name=name, code="f" if exact else "d", nullable=bool(absent.any()))


def _is_text(kind: pa.DataType) -> bool:
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    return plain in (pa.string(), pa.large_string(), pa.string_view())


def _positions(column: Column, rows: pa.Table) -> NDArray[np.int32]:
    found = pc.index_in(rows[column.name].cast(pa.string()), value_set=pa.array(column.categories, pa.string()))
    return np.asarray(found.fill_null(len(column.categories)))


def _numbers(name: str, rows: pa.Table) -> NDArray[np.float64]:
    try:
        return np.asarray(rows[name].cast(pa.float64()), dtype=np.float64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise StoreError(
            f"The column is of type {rows.schema.field(name).type}, which is neither a number nor a text.",
            where=f"feature {name}",
            remedy="Declare the feature as one of them in features.yaml.",
        ) from error
