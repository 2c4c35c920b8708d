"""How a customer's features lie in a store: one packed row, whose columns a layout describes once for many customers.

It imports little, because it is shipped with the service. ``packing`` makes rows, out of Arrow.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import struct
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from include.serving.online_store.base import CustomerFeatures

_HEADER = struct.Struct(">I8s")
"""The day as Python's ordinal, and the key of the layout."""

HEADER_BYTES = _HEADER.size
DAY_BYTES = 4
# Beyond a machine word, what Python raises of itself is no ValueError.
_LAST_DAY = dt.date.max.toordinal()


def customer_key(customer_id: str) -> bytes:
    """Return the bytes under which a customer's row is kept; text that is no Unicode has some, which nobody has."""
    return customer_id.encode(errors="surrogatepass")


def header(day: dt.date, layout_key: bytes) -> bytes:
    """Return what a row begins with; those of later days are greater as bytes."""
    return _HEADER.pack(day.toordinal(), layout_key)


def day_prefix(day: dt.date) -> bytes:
    """Return the first bytes of every row of ``day``."""
    return day.toordinal().to_bytes(DAY_BYTES, "big")


def layout_key_of(row: bytes) -> bytes:
    """Return the key of the layout that reads ``row``.

    Raises:
        struct.error: The row is too short to be one.
    """
    key: bytes = _HEADER.unpack_from(row)[1]
    return key


class Column(BaseModel):
    """One feature's place in a row.

    Attributes:
        name: The name of gold's column.
        code: Its type as ``struct`` and NumPy call it: ``f`` and ``d`` are numbers of 32 and 64 bits, NaN where there
            is none; ``H`` and ``I`` are positions in ``categories``, one past the end where there is none.
        categories: The texts that occur; only for ``H`` and ``I``.
        nullable: Whether a value is absent in any row.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    code: Literal["f", "d", "H", "I"]
    categories: tuple[str, ...] = ()
    nullable: bool


class RowLayout(BaseModel):
    """The columns of packed rows, little-endian and without gaps, after the header."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: tuple[Column, ...]

    @cached_property
    def key(self) -> bytes:
        """A name that follows from the columns, so that days of the same layout share it."""
        return hashlib.blake2b(self.model_dump_json().encode(), digest_size=8).digest()

    def decode(self, row: bytes) -> CustomerFeatures:
        """Return what ``row`` holds.

        Raises:
            struct.error: The row is of another length.
            IndexError: It holds a position that no category has.
            ValueError: There is no such day.
        """
        values: list[Any] = list(self._values.unpack(row))
        for position in self._numbers_with_nulls:
            if values[position] != values[position]:
                values[position] = None
        for position, texts in self._texts:
            values[position] = texts[values[position]]
        ordinal = int.from_bytes(row[:DAY_BYTES], "big")
        if ordinal > _LAST_DAY:
            raise ValueError("no such day")
        return CustomerFeatures(dt.date.fromordinal(ordinal), dict(zip(self._names, values, strict=True)))

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @cached_property
    def _values(self) -> struct.Struct:
        return struct.Struct(f"<{HEADER_BYTES}x" + "".join(column.code for column in self.columns))

    @cached_property
    def _numbers_with_nulls(self) -> tuple[int, ...]:
        return tuple(i for i, column in enumerate(self.columns) if column.code in "fd" and column.nullable)

    @cached_property
    def _texts(self) -> tuple[tuple[int, tuple[str | None, ...]], ...]:
        return tuple((i, (*column.categories, None)) for i, column in enumerate(self.columns) if column.code in "HI")
