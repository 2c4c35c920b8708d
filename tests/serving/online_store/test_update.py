"""Copying gold days into the online store."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest

from include.days import DayRange
from include.lake import LakeError, open_lake
from include.lake.table_names import FEATURES_TABLE
from include.serving.online_store import CustomerFeatures, open_store
from include.serving.online_store.update import update_store
from include.settings import ServingSettings, Settings, StoreSettings
from tests.serving.conftest import gold_rows
from tests.serving.online_store.conftest import DAY, MakeSync, day


def write_gold(settings: Settings, of: dt.date, customers: int) -> None:
    open_lake(settings).table(FEATURES_TABLE).replace(DayRange.single(of), gold_rows(customers, of))


def test_store_holds_the_newest_gold_row_of_each_customer(tmp_path: Path, make_sync: MakeSync) -> None:
    settings = Settings(home=tmp_path, project="synthetic")
    write_gold(settings, DAY, 20)
    write_gold(settings, day(1), 10)
    assert [update_store(of, settings).newest for of in (day(1), DAY, day(1))] == [10, 10, 10]
    store = make_sync(open_store(settings))
    for of, rows in ((day(1), range(10)), (DAY, range(10, 20))):
        gold = open_lake(settings).table(FEATURES_TABLE).read(DayRange.single(of)).sort_by("customer_id").to_pylist()
        for row in rows:
            expected = {name: gold[row][name] for name in ("recency_days", "copy", "segment")}
            expected["spend_30d"] = float(np.float32(gold[row]["spend_30d"]))
            assert store.get(f"h{row:04d}") == CustomerFeatures(of, expected)


def test_missing_gold_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LakeError, match=FEATURES_TABLE):
        update_store(DAY, Settings(home=tmp_path, project="synthetic"))


def test_backend_none_writes_nothing(tmp_path: Path) -> None:
    serving = ServingSettings(store=StoreSettings(backend="none"))
    settings = Settings(home=tmp_path, project="synthetic", serving=serving)
    write_gold(settings, DAY, 5)
    assert update_store(DAY, settings).as_dict() == {"backend": "none", "rows": 0, "newest": 0, "seconds": 0.0}
    assert not (tmp_path / "online_store").exists()
