"""The stored form of a customer's features: a header, then one 32-bit float per feature.

A ``RowLayout``, stored once for many rows, contains the names of the features and the categories of text features.
Models read 32-bit floats too, so a stored value gives the same prediction as the gold value.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from include.serving.online_store.base import CustomerFeatures, StoreError

_HEADER = struct.Struct(">I8s")
"""The day as Python's ordinal, and the key of the layout. Rows of later days compare greater as bytes."""

DAY_BYTES = 4
_LAST_DAY = dt.date.max.toordinal()
_CUSTOMER, _DAY = "customer_id", "dt"
_SLICE_ROWS = 20_000
_MAX_CATEGORIES = 2**24
"""Beyond this number a 32-bit float does not represent every integer."""
_NUMBERS = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean, pa.types.is_null)


def customer_key(customer_id: str) -> bytes:
    """Return the key of a customer's row. A lone surrogate, which no stored id contains, is not an error."""
    return customer_id.encode(errors="surrogatepass")


def day_prefix(day: dt.date) -> bytes:
    """Return the first bytes of every row of ``day``."""
    return day.toordinal().to_bytes(DAY_BYTES, "big")


def layout_key_of(row: bytes) -> bytes:
    """Return the key of the layout of ``row``.

    Raises:
        struct.error: The row is shorter than a header.
    """
    key: bytes = _HEADER.unpack_from(row)[1]
    return key


class Column(BaseModel):
    """One feature of a row.

    Attributes:
        name: The column's name in gold.
        categories: The sorted texts of a text feature, which is stored as a position in this list; None for a number.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    categories: tuple[str, ...] | None = None


class RowLayout(BaseModel):
    """The features of a row, in order: little-endian 32-bit floats after the header, NaN for a null."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: tuple[Column, ...]

    @cached_property
    def key(self) -> bytes:
        """A hash of the columns, so that days with the same columns share a layout."""
        return hashlib.blake2b(self.model_dump_json().encode(), digest_size=8).digest()

    def decode(self, row: bytes) -> CustomerFeatures:
        """Return the contents of ``row``.

        Raises:
            struct.error: The row has another length.
            KeyError: A text feature contains a position without a category.
            ValueError: The day is out of range.
        """
        values: list[Any] = [None if value != value else value for value in self._values.unpack(row)]
        for position, texts in self._texts:
            values[position] = texts[values[position]]
        ordinal = int.from_bytes(row[:DAY_BYTES], "big")
        # date.fromordinal raises OverflowError, and not ValueError, for the largest integers.
        if ordinal > _LAST_DAY:
            raise ValueError("day out of range")
        return CustomerFeatures(dt.date.fromordinal(ordinal), dict(zip(self._names, values, strict=True)))

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @cached_property
    def _values(self) -> struct.Struct:
        return struct.Struct(f"<{_HEADER.size}x{len(self.columns)}f")

    @cached_property
    def _texts(self) -> tuple[tuple[int, dict[float | None, str | None]], ...]:
        return tuple(
            (position, {None: None} | {float(code): text for code, text in enumerate(column.categories)})
            for position, column in enumerate(self.columns)
            if column.categories is not None
        )


@dataclass(frozen=True)
class RowSlice:
    """Encoded rows of one day, ordered by customer id.

    Attributes:
        customers: The customers' keys.
        rows: Their rows, concatenated.
        width: The length of one row in bytes.
    """

    customers: list[bytes]
    rows: bytes
    width: int

    def items(self) -> list[tuple[bytes, memoryview]]:
        """Return each customer's key and row."""
        view, width = memoryview(self.rows), self.width
        return [(key, view[i * width : (i + 1) * width]) for i, key in enumerate(self.customers)]


def layout_of(rows: pa.Table) -> RowLayout:
    """Return the layout of a day's gold rows.

    Raises:
        StoreError: A column contains neither numbers nor texts, or too many texts.
    """
    names = [name for name in rows.column_names if name not in (_CUSTOMER, _DAY)]
    return RowLayout(columns=tuple(Column(name=name, categories=_categories(rows, name)) for name in names))


def encode_rows(day: dt.date, rows: pa.Table, layout: RowLayout) -> Iterator[RowSlice]:
    """Yield a day's rows in slices, in the order of customer ids: a B-tree that is filled in order is a fifth smaller.

    Args:
        day: The day of the rows.
        rows: Rows of ``gold/features``.
        layout: Their layout.
    """
    record = np.dtype([("header", f"V{_HEADER.size}"), ("features", "<f4", (len(layout.columns),))])
    header = np.frombuffer(_HEADER.pack(day.toordinal(), layout.key), dtype=record["header"])[0]
    customers = rows[_CUSTOMER].cast(pa.string())
    order = pc.sort_indices(customers)
    for first in range(0, rows.num_rows, _SLICE_ROWS):
        positions = order.slice(first, _SLICE_ROWS)
        part = rows.take(positions)
        encoded = np.empty(len(positions), dtype=record)
        encoded["header"] = header
        for position, column in enumerate(layout.columns):
            # A number beyond the range of 32 bits becomes infinite, which the endpoint refuses.
            with np.errstate(over="ignore"):
                encoded["features"][:, position] = _values(part, column)
        ids = [text.encode() for text in customers.take(positions).to_pylist()]
        yield RowSlice(ids, encoded.tobytes(), record.itemsize)


def _categories(rows: pa.Table, name: str) -> tuple[str, ...] | None:
    kind = rows.schema.field(name).type
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    if any(is_number(plain) for is_number in _NUMBERS):
        return None
    if plain not in (pa.string(), pa.large_string(), pa.string_view()):
        raise StoreError(
            f"The column has type {kind}, which is neither a number nor a text.",
            where=f"feature {name}",
            remedy="Declare the feature as a number or a text in features.yaml.",
        )
    texts = rows[name].cast(pa.string()).unique().drop_null().to_pylist()
    if len(texts) > _MAX_CATEGORIES:
        raise StoreError(
            f"The column has {len(texts):,} categories; {_MAX_CATEGORIES:,} can be stored.",
            where=f"feature {name}",
            remedy="Declare a coarser feature in features.yaml.",
        )
    return tuple(sorted(texts))


def _values(rows: pa.Table, column: Column) -> NDArray[np.float64]:
    """Return a column as numbers, shape (n,): values, or the positions of categories; NaN for a null."""
    values = rows[column.name]
    if column.categories is not None:
        values = pc.index_in(values.cast(pa.string()), value_set=pa.array(column.categories, pa.string()))
    return np.asarray(values.cast(pa.float64(), safe=False), dtype=np.float64)
