"""A process that writes a day: ``python -m tests.serving.online_store.writer SETTINGS DAY CUSTOMERS``."""

from __future__ import annotations

import datetime as dt
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import SecretStr

from include.serving.online_store.base import CustomerFeatures, open_store
from include.settings import ServingSettings, Settings, StoreSettings

FEATURES = 20


def rows_of_day(day: dt.date, customers: int) -> pa.Table:
    """Return a day on which every feature of every customer says which day it is."""
    values = np.full(customers, float(day.toordinal()))
    ids = [f"c{i}" for i in range(customers)]
    return pa.table({"customer_id": ids} | {f"feature_{i}": values for i in range(FEATURES)})


def row_of(of: dt.date) -> CustomerFeatures:
    """Return what the store then has of a customer."""
    return CustomerFeatures(of, {f"feature_{i}": float(of.toordinal()) for i in range(FEATURES)})


def argument(settings: Settings) -> str:
    """Return what tells another process which store it is."""
    store = settings.serving.store
    return json.dumps([str(settings.home), settings.project, store.backend, store.url.get_secret_value()])


def main(where: str, day: str, customers: str) -> None:
    home, project, backend, url = json.loads(where)
    store = open_store(
        Settings(
            home=Path(home),
            project=project,
            serving=ServingSettings(store=StoreSettings(backend=backend, url=SecretStr(url))),
        )
    )
    assert store is not None
    rows = rows_of_day(dt.date.fromisoformat(day), int(customers))
    print("writing", flush=True)
    store.put_day(dt.date.fromisoformat(day), rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
