"""The interface of an online store, and the error that every store raises."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from include.errors import ChurnflowError

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = b"2"
"""The version of the stored format. A store of another version is refused; an upgrade builds it again from gold."""
UPGRADE = "Run `python -m include.upgrade`, or delete the store and run churn_score for the newest day."
"""The remedy for a store of another version."""


class StoreError(ChurnflowError):
    """The online store is missing, or contains data that cannot be read or stored."""


class UnreachableStoreError(StoreError):
    """The server of the online store does not answer."""

    can_retry = True


@dataclass(frozen=True)
class CustomerFeatures:
    """The stored features of one customer.

    Attributes:
        day: The newest gold day that contains the customer.
        features: The values of that day by gold column, including columns that the model does not read. Numbers have
            the precision of 32-bit floats, as in the model's input; None is a null.
    """

    day: dt.date
    features: dict[str, float | str | None]


class OnlineStore(Protocol):
    """The newest features of each customer."""

    async def get(self, customer_id: str) -> CustomerFeatures | None:
        """Return the customer's newest features; None when no written day contains the customer.

        Raises:
            StoreError: The store is missing, does not answer, or is damaged. The next call tries again.
        """

    def put_day(self, day: dt.date, rows: pa.Table) -> int:
        """Store the features of ``day``, and return the number of rows that are the newest of their customer.

        Days may be written in any order, repeatedly, and by several processes at once. A customer with a newer row
        keeps that row; a customer who is not in ``rows`` keeps an older row. Writing a day again first removes the rows
        of that day.

        Args:
            day: The day of the rows.
            rows: Rows of ``gold/features``: ``customer_id``, unique, and one column per feature; ``dt`` is ignored.

        Raises:
            StoreError: The store cannot be written, or a column contains neither numbers nor texts.
            DiskFullError: There is no space left; the store is unchanged.
        """

    def contains(self, customer_id: str) -> bool:
        """Return whether there is a row of a customer.

        Raises:
            StoreError: The store cannot be read.
        """

    def erase(self, customer_id: str) -> bool:
        """Delete the row of a customer, and return whether there was one.

        Raises:
            StoreError: The store cannot be written.
            DiskFullError: There is no space left; the row may be deleted, but its bytes are still in the file.
        """

    def is_outdated(self) -> bool:
        """Return whether another release wrote the store; False if there is none.

        Raises:
            StoreError: The store cannot be read.
        """

    def clear(self) -> None:
        """Delete the store.

        Raises:
            StoreError: The store cannot be written.
        """

    async def close(self) -> None:
        """Close files and connections; a later call opens them again."""
