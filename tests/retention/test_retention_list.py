"""The retention list: order, reasons, and the scoring of a day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from include.days import DayRange
from include.lake import Lake, open_lake
from include.lake.table_names import FEATURES_TABLE, SCORES_TABLE, silver_table
from include.retention.retention_list import ScoringError, deployed_bento, retention_list, score_day
from include.serving.deployment.state import BentoReference
from include.settings import EngineName, Settings
from include.training.model.bundle import Bundle
from include.training.model.contract import EncodingError
from tests.serving.conftest import DAY, gold_rows, synthetic_columns
from tests.serving.servers import record_deployment
from tests.spark import needs_spark


def deploy(bundle: Bundle, project: str, settings: Settings, folder: Path) -> Settings:
    """Deploy the model as that of a shipped project, whose label decides who is on the list; return its settings."""
    own = Settings(home=settings.home, project=project, serving=settings.serving)
    contract = bundle.contract.model_copy(update={"project": project})
    replace(bundle, contract=contract).save(folder / "src" / "bundle")
    record_deployment(own.serving_dir, BentoReference("7-abc", "7", str(folder), project))
    return own


def write_statuses(lake: Lake, day: dt.date, statuses: dict[str, str]) -> None:
    """Write the silver rows of changed customers of the project subscription, delivered on ``day``."""
    columns = {
        "dt": pa.array([day] * len(statuses), pa.date32()),
        "customer_id": pa.array(list(statuses), pa.string()),
        "status": pa.array(list(statuses.values()), pa.string()),
        "updated_at": pa.array([dt.datetime.combine(day, dt.time(9))] * len(statuses), pa.timestamp("us")),
    }
    lake.table(silver_table("customers")).replace([day], pa.table(columns))


@pytest.fixture
def deployed(make_settings: Callable[[], Settings], bundle: Bundle, tmp_path: Path) -> Settings:
    return deploy(bundle, "grocery", make_settings(), tmp_path / "grocery")


class TestRetentionList:
    def test_orders_customers_by_risk(self, bundle: Bundle) -> None:
        rows = retention_list(DAY, gold_rows(200), bundle, "7", reasons_for=3).to_pylist()
        keys = [(-row["churn_probability"], row["customer_id"]) for row in rows]
        assert keys == sorted(keys)
        assert [row["rank"] for row in rows] == list(range(1, 201))
        assert {row["model_version"] for row in rows} == {"7"}

    def test_probabilities_belong_to_their_customers(self, bundle: Bundle) -> None:
        gold = gold_rows(200)
        expected = dict(zip(gold["customer_id"].to_pylist(), bundle.predict(synthetic_columns(200, 21)), strict=True))
        for row in retention_list(DAY, gold, bundle, "7", reasons_for=3).to_pylist():
            assert row["churn_probability"] == pytest.approx(float(expected[row["customer_id"]]))
            assert row["prediction"] == ("churn" if row["churn_probability"] >= 0.4 else "retain")

    def test_row_and_column_order_is_irrelevant(self, bundle: Bundle) -> None:
        gold = gold_rows(100)
        mixed = gold.take(np.random.default_rng(1).permutation(100)).select(gold.column_names[::-1])
        assert retention_list(DAY, mixed, bundle, "7", reasons_for=3).equals(
            retention_list(DAY, gold, bundle, "7", reasons_for=3)
        )

    def test_added_feature_is_ignored_and_missing_feature_is_an_error(self, bundle: Bundle) -> None:
        gold = gold_rows(10)
        wider = gold.append_column("new_feature", pa.array([0.0] * 10))
        assert retention_list(DAY, wider, bundle, "7", reasons_for=3).equals(
            retention_list(DAY, gold, bundle, "7", reasons_for=3)
        )
        with pytest.raises(EncodingError, match="spend_30d"):
            retention_list(DAY, gold.drop_columns(["spend_30d"]), bundle, "7", reasons_for=3)

    def test_only_the_top_of_the_list_has_reasons(self, bundle: Bundle) -> None:
        gold = gold_rows(50)
        recency = dict(zip(gold["customer_id"].to_pylist(), gold["recency_days"].to_pylist(), strict=True))
        rows = retention_list(DAY, gold, bundle, "7", reasons_for=3).to_pylist()
        for row in rows[:3]:
            assert f"recency_days: {recency[row['customer_id']]:g}" in row["raises_risk"].split("; ")
        assert {(row["raises_risk"], row["lowers_risk"]) for row in rows[3:]} == {(None, None)}

    @pytest.mark.parametrize("reasons_for", [0, 7, 500])
    def test_list_is_independent_of_the_slice_size(self, bundle: Bundle, reasons_for: int) -> None:
        gold = gold_rows(100)
        gold = pa.concat_tables([gold, gold.set_column(1, "customer_id", pa.array([f"a{i:04d}" for i in range(100)]))])
        whole = retention_list(DAY, gold, bundle, "7", reasons_for)
        for rows in (1, 30, 200):
            stream = pa.RecordBatchReader.from_batches(gold.schema, gold.combine_chunks().to_batches(rows))
            assert retention_list(DAY, stream, bundle, "7", reasons_for).equals(whole)

    @pytest.mark.parametrize("reasons_for", [0, 500])
    def test_number_of_reasons_is_limited_by_setting_and_customers(self, bundle: Bundle, reasons_for: int) -> None:
        rows = retention_list(DAY, gold_rows(20), bundle, "7", reasons_for)
        assert rows["raises_risk"].null_count == 20 - min(reasons_for, 20)
        assert rows.schema.field("lowers_risk").type == pa.string()


class TestScoreDay:
    def test_scoring_again_changes_nothing(self, deployed: Settings) -> None:
        lake = open_lake(deployed)
        lake.table(FEATURES_TABLE).replace(DayRange.single(DAY), gold_rows(50))
        result = score_day(DAY, deployed)
        first = lake.table(SCORES_TABLE).read(DayRange.single(DAY)).sort_by("rank")
        score_day(DAY, deployed)
        assert (result.rows_read, result.rows_written) == (50, 50)
        assert lake.table(SCORES_TABLE).read(DayRange.single(DAY)).sort_by("rank").equals(first)
        assert first["dt"].unique().to_pylist() == [DAY]
        assert first["raises_risk"].null_count == 0

    def test_lists_without_reasons_are_kept(self, deployed: Settings) -> None:
        lake, before = open_lake(deployed), DAY - dt.timedelta(days=1)
        lake.table(FEATURES_TABLE).replace(DayRange.single(DAY), gold_rows(5))
        old = retention_list(before, gold_rows(5, before), deployed_bento(deployed).load_bundle(), "7", reasons_for=0)
        lake.table(SCORES_TABLE).replace(DayRange.single(before), old.drop_columns(["raises_risk", "lowers_risk"]))
        score_day(DAY, deployed)
        rows = lake.table(SCORES_TABLE).read([before, DAY])
        assert (rows.num_rows, rows["raises_risk"].null_count) == (10, 5)

    def test_day_without_customers_is_an_error(self, deployed: Settings) -> None:
        lake = open_lake(deployed)
        lake.table(FEATURES_TABLE).replace(DayRange.single(DAY), gold_rows(5))
        with pytest.raises(ScoringError, match="2017-09-02"):
            score_day(dt.date(2017, 9, 2), deployed)

    @pytest.mark.parametrize("engine", ["duckdb", pytest.param("spark", marks=[needs_spark, pytest.mark.slow])])
    def test_known_churners_are_left_out_and_counted(
        self, make_settings: Callable[[], Settings], bundle: Bundle, tmp_path: Path, engine: EngineName
    ) -> None:
        settings = deploy(bundle, "subscription", make_settings(), tmp_path / "subscription")
        settings = settings.model_copy(update={"engine": engine})
        lake = open_lake(settings)
        lake.table(FEATURES_TABLE).replace(DayRange.single(DAY), gold_rows(50))
        churned = [f"h{row:04d}" for row in range(40)]
        write_statuses(lake, DAY, dict.fromkeys(churned, "churned") | {"h0045": "active", "elsewhere": "churned"})
        # What is delivered after the day is not known when the day closes.
        write_statuses(lake, DAY + dt.timedelta(days=1), {"h0041": "churned", "h0000": "active"})
        result = score_day(DAY, settings)
        listed = lake.table(SCORES_TABLE).read([DAY])
        assert set(listed["customer_id"].to_pylist()) == {f"h{row:04d}" for row in range(40, 50)}
        assert sorted(listed["rank"].to_pylist()) == list(range(1, 11))
        assert (result.rows_read, result.rows_written) == (50, 10)
        assert result.detail is not None
        assert result.detail["known_churners"] == 40

        write_statuses(lake, DAY, {f"h{row:04d}": "churned" for row in range(50)})
        with pytest.raises(ScoringError, match="All customers of the day are known to have churned"):
            score_day(DAY, settings)

    def test_missing_deployment_is_an_error(self, make_settings: Callable[[], Settings]) -> None:
        with pytest.raises(ScoringError, match="No model is deployed"):
            score_day(DAY, make_settings())
