"""What an online store is, whatever keeps it.

It imports little, because it is shipped with the service.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from include.errors import ChurnflowError
from include.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = b"1"
"""The version of what the stores keep; another one is refused, and written anew from gold."""


class StoreError(ChurnflowError):
    """The online store is not there, does not answer, or holds what cannot be read."""


@dataclass(frozen=True)
class CustomerFeatures:
    """What is known about one customer.

    Attributes:
        day: The newest gold day that has the customer.
        features: The values of that day by the names of gold's columns, whatever model reads them; None is a null.
    """

    day: dt.date
    features: dict[str, float | str | None]


class OnlineStore(Protocol):
    """The newest features of each customer."""

    async def get(self, customer_id: str) -> CustomerFeatures | None:
        """Return the customer's newest features; None when no day that was written has the customer.

        Raises:
            StoreError: The store is missing, does not answer, or is damaged. The next call tries anew.
        """

    def put_day(self, day: dt.date, rows: pa.Table) -> int:
        """Keep the features of ``day``, and return how many customers have them as their newest.

        Days may come in any order, again, and from several processes at once. A customer who has a newer row keeps it;
        one whom ``rows`` does not name keeps an older row. A day that was written before is taken back first: a
        customer whom it no longer names is unknown until a day does.

        Args:
            day: The day of the rows.
            rows: Rows of ``gold/features``: ``customer_id``, one row for each, and one column for each feature;
                ``dt`` is ignored.

        Raises:
            StoreError: The store cannot be written, or a column is neither of numbers nor of texts.
            DiskFullError: There is no space left; the store is as it was.
        """

    async def close(self) -> None:
        """Let go of files and connections; a later call opens them again."""


def open_store(settings: Settings) -> OnlineStore | None:
    """Return the settings' online store, which need not exist yet; None where the settings want none."""
    store = settings.serving.store
    if store.backend == "redis":
        from include.serving.online_store.redis_store import RedisStore

        return RedisStore(store.url, settings.project, store.timeout_seconds)
    if store.backend == "embedded":
        from include.serving.online_store.embedded import EmbeddedStore

        return EmbeddedStore(settings.home / "online_store" / settings.project)
    return None
