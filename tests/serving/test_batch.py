from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from include.days import DayRange
from include.lake import open_lake
from include.serving.batch import FEATURES, SCORES, ScoringError, retention_list, score_day
from include.serving.pointer import BentoReference, write_pointer
from include.settings import Settings
from include.training.bundle import Bundle, EncodingError
from tests.serving.conftest import synthetic_columns

DAY = dt.date(2017, 9, 1)


def gold_rows(rows: int, day: dt.date = DAY) -> pa.Table:
    return pa.table(
        {
            "dt": pa.repeat(pa.scalar(day, pa.date32()), rows),
            "customer_id": [f"h{row:04d}" for row in range(rows)],
            **synthetic_columns(rows, seed=21),
        }
    )


@pytest.fixture
def deployed(make_settings: Callable[[], Settings], bundle: Bundle, tmp_path: Path) -> Settings:
    settings = make_settings()
    bundle.save(tmp_path / "bento" / "src" / "bundle")
    write_pointer(settings.serving_dir, BentoReference("7-abc", "7", str(tmp_path / "bento")))
    return settings


class TestRetentionList:
    def test_orders_customers_by_risk(self, bundle: Bundle) -> None:
        rows = retention_list(DAY, gold_rows(200), bundle).to_pylist()
        keys = [(-row["churn_probability"], row["customer_id"]) for row in rows]
        assert keys == sorted(keys)
        assert [row["rank"] for row in rows] == list(range(1, 201))
        assert {row["model_version"] for row in rows} == {"7"}

    def test_each_customer_keeps_the_own_probability(self, bundle: Bundle) -> None:
        gold = gold_rows(200)
        expected = dict(zip(gold["customer_id"].to_pylist(), bundle.predict(synthetic_columns(200, 21)), strict=True))
        for row in retention_list(DAY, gold, bundle).to_pylist():
            assert row["churn_probability"] == pytest.approx(float(expected[row["customer_id"]]))
            assert row["prediction"] == ("churn" if row["churn_probability"] >= 0.4 else "retain")

    def test_order_of_rows_and_columns_does_not_matter(self, bundle: Bundle) -> None:
        gold = gold_rows(100)
        mixed = gold.take(np.random.default_rng(1).permutation(100)).select(gold.column_names[::-1])
        assert retention_list(DAY, mixed, bundle).equals(retention_list(DAY, gold, bundle))

    def test_added_feature_is_ignored_and_a_missing_one_named(self, bundle: Bundle) -> None:
        gold = gold_rows(10)
        wider = gold.append_column("new_feature", pa.array([0.0] * 10))
        assert retention_list(DAY, wider, bundle).equals(retention_list(DAY, gold, bundle))
        with pytest.raises(EncodingError, match="spend_30d"):
            retention_list(DAY, gold.drop_columns(["spend_30d"]), bundle)


class TestScoreDay:
    def test_writes_one_row_per_customer_and_twice_changes_nothing(self, deployed: Settings) -> None:
        lake = open_lake(deployed)
        lake.table(FEATURES).replace(DayRange.single(DAY), gold_rows(50))
        result = score_day(DAY, deployed)
        first = lake.table(SCORES).read(DayRange.single(DAY)).sort_by("rank")
        score_day(DAY, deployed)
        assert (result.rows_read, result.rows_written) == (50, 50)
        assert lake.table(SCORES).read(DayRange.single(DAY)).sort_by("rank").equals(first)
        assert first["dt"].unique().to_pylist() == [DAY]

    def test_day_without_customers_is_refused(self, deployed: Settings) -> None:
        lake = open_lake(deployed)
        lake.table(FEATURES).replace(DayRange.single(DAY), gold_rows(5))
        with pytest.raises(ScoringError, match="2017-09-02"):
            score_day(dt.date(2017, 9, 2), deployed)

    def test_nothing_deployed_is_refused(self, make_settings: Callable[[], Settings]) -> None:
        with pytest.raises(ScoringError, match="No model is deployed"):
            score_day(DAY, make_settings())
