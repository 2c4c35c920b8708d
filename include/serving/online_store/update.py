"""Copy a gold day into the online store."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import asdict, dataclass
from typing import Any

from include.days import DayRange
from include.lake import open_lake
from include.lake.table_names import FEATURES_TABLE
from include.lineage import ONLINE_STORE, record_write
from include.logs import get_logger
from include.serving.online_store import open_store
from include.settings import Settings

log = get_logger(__name__)


@dataclass(frozen=True)
class StoreUpdate:
    """The result of an update.

    Attributes:
        backend: The store's backend; ``none`` stores nothing.
        rows: The number of rows of the day.
        newest: The number of rows that are the newest of their customer.
        seconds: Wall time.
    """

    backend: str
    rows: int
    newest: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return the update as plain JSON types, fit for XCom."""
        return asdict(self)


def update_store(day: dt.date, settings: Settings) -> StoreUpdate:
    """Store the gold features of ``day`` in the online store. Repeating the update changes nothing.

    Args:
        day: A day of ``gold/features``.
        settings: The lake and the online store.

    Raises:
        LakeError: There is no ``gold/features`` yet.
        StoreError: The store cannot be written.
        DiskFullError: There is no space left; the store is unchanged.
    """
    start, backend = time.perf_counter(), settings.serving.store.backend
    store = open_store(settings)
    if store is None:
        log.info("no online store configured")
        return StoreUpdate(backend, 0, 0, 0.0)
    rows = open_lake(settings).table(FEATURES_TABLE).read(DayRange.single(day))
    newest = store.put_day(day, rows)
    folder = str(settings.home / "online_store" / settings.project)
    address = settings.serving.store.url.get_secret_value() if backend == "redis" else folder
    record_write(ONLINE_STORE, address, day, rows.schema)
    return StoreUpdate(backend, rows.num_rows, newest, round(time.perf_counter() - start, 3))
