from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from include.days import DayRange
from include.lake import LakeError, open_lake
from include.lake.table_names import FEATURES_TABLE
from include.serving.online_store.base import CustomerFeatures, open_store
from include.serving.online_store.update import update_store
from include.settings import ServingSettings, Settings, StoreSettings
from tests.retention.test_retention_list import gold_rows
from tests.serving.online_store.conftest import DAY, Ask, day


def write_gold(settings: Settings, of: dt.date, customers: int) -> None:
    open_lake(settings).table(FEATURES_TABLE).replace(DayRange.single(of), gold_rows(customers, of))


def test_a_customer_has_the_features_of_gold(tmp_path: Path, asked: Ask) -> None:
    settings = Settings(home=tmp_path, project="synthetic")
    write_gold(settings, DAY, 20)
    write_gold(settings, day(1), 10)
    assert [update_store(of, settings).newest for of in (day(1), DAY, day(1))] == [10, 10, 10]
    store = asked(open_store(settings))
    for of, rows in ((day(1), range(10)), (DAY, range(10, 20))):
        gold = open_lake(settings).table(FEATURES_TABLE).read(DayRange.single(of)).sort_by("customer_id").to_pylist()
        for row in rows:
            expected = {name: gold[row][name] for name in ("recency_days", "spend_30d", "copy", "segment")}
            assert store.get(f"h{row:04d}") == CustomerFeatures(of, expected)


def test_without_gold_there_is_nothing_to_keep(tmp_path: Path) -> None:
    with pytest.raises(LakeError, match=FEATURES_TABLE):
        update_store(DAY, Settings(home=tmp_path, project="synthetic"))


def test_where_no_store_is_wanted_none_is_written(tmp_path: Path) -> None:
    serving = ServingSettings(store=StoreSettings(backend="none"))
    settings = Settings(home=tmp_path, project="synthetic", serving=serving)
    write_gold(settings, DAY, 5)
    assert update_store(DAY, settings).as_dict() == {"backend": "none", "rows": 0, "newest": 0, "seconds": 0.0}
    assert not (tmp_path / "online_store").exists()
