"""Write a day in a separate process.

Usage: ``python -m tests.serving.online_store.writer SETTINGS DAY CUSTOMERS [stepwise]``.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import SecretStr

from include.serving.online_store import CustomerFeatures, lmdb_store, open_store, redis_store
from include.serving.online_store.row_format import RowLayout, RowSlice, encode_rows
from include.settings import ServingSettings, Settings, StoreSettings

FEATURES = 20


def rows_of_day(day: dt.date, customers: int) -> pa.Table:
    """Return rows in which every feature of every customer is the day's ordinal."""
    values = np.full(customers, float(day.toordinal()))
    ids = [f"c{i}" for i in range(customers)]
    return pa.table({"customer_id": ids} | {f"feature_{i}": values for i in range(FEATURES)})


def row_of(of: dt.date) -> CustomerFeatures:
    """Return the stored features of a customer of ``rows_of_day``."""
    return CustomerFeatures(of, {f"feature_{i}": float(of.toordinal()) for i in range(FEATURES)})


def argument(settings: Settings) -> str:
    """Return the settings of a store as a command-line argument."""
    store = settings.serving.store
    return json.dumps([str(settings.home), settings.project, store.backend, store.url.get_secret_value()])


def stepwise(day: dt.date, rows: pa.Table, layout: RowLayout) -> Iterator[RowSlice]:
    """Yield the slices of ``encode_rows``; before each, print ``slice`` and wait for a line on the standard input."""
    for part in encode_rows(day, rows, layout):
        print("slice", flush=True)
        sys.stdin.readline()
        yield part


def main(where: str, day: str, customers: str, mode: str = "") -> None:
    home, project, backend, url = json.loads(where)
    if mode == "stepwise":
        lmdb_store.encode_rows = redis_store.encode_rows = stepwise  # type: ignore[attr-defined]
    store = open_store(
        Settings(
            home=Path(home),
            project=project,
            serving=ServingSettings(store=StoreSettings(backend=backend, url=SecretStr(url))),
        )
    )
    assert store is not None
    store.put_day(dt.date.fromisoformat(day), rows_of_day(dt.date.fromisoformat(day), int(customers)))


if __name__ == "__main__":
    main(*sys.argv[1:])
