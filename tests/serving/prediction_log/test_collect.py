"""Segments are collected into the lake exactly once, in any order and state."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from include.lake import open_lake
from include.lake.table_names import PREDICTIONS_TABLE
from include.serving.prediction_log.collect import collect_predictions
from include.serving.prediction_log.predictions import Predictions, segment_rows
from include.serving.prediction_log.segments import (
    SegmentError,
    SegmentStore,
    new_segment_name,
    spool_folder,
    write_segment,
)
from include.settings import Settings
from include.training.model.bundle import Bundle
from include.training.model.contract import FeatureContract
from tests.serving.conftest import synthetic_columns, train_bundle
from tests.serving.prediction_log.logs import (
    NOON,
    TODAY,
    customers_of,
    delivered,
    group,
    log_all,
    rows_of,
    settings_in,
)
from tests.training.contracts import contract_of

DAY = dt.timedelta(days=1)


@pytest.fixture(scope="module")
def others_bundle(bundle: Bundle) -> Bundle:
    """The model of another project."""
    return Bundle(bundle.contract.model_copy(update={"project": "other"}), bundle.booster)


def test_lake_contains_each_prediction_as_answered(bundle: Bundle, tmp_path: Path) -> None:
    settings, columns = settings_in(tmp_path), synthetic_columns(4, seed=5)
    yesterday = TODAY - DAY
    predictions = group(bundle, ["a", "b", "c", "d"], features_day=yesterday)
    log_all(bundle, settings, predictions)
    result = collect_predictions(settings)
    assert (result.days, result.segments, result.rows) == ([str(TODAY)], 1, 4)
    (segment,) = delivered(settings)
    for row, found in enumerate(rows_of(settings)):
        probability = float(predictions.probabilities[row])
        assert found == {
            "dt": TODAY,
            "answered_at": NOON,
            "customer_id": predictions.customer_ids[row],
            "model_version": "7",
            "churn_probability": probability,
            "prediction": bundle.contract.decide(probability),
            "features_day": yesterday,
            "shadow_version": None,
            "shadow_probability": None,
            "shadow_prediction": None,
            "part": segment.name,
            "number_recency_days": columns["recency_days"][row],
            "number_spend_30d": np.float32(columns["spend_30d"][row]),
            "number_copy": columns["copy"][row],
            "category_segment": columns["segment"][row],
        }


def test_collecting_again_changes_nothing(bundle: Bundle, tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    log_all(bundle, settings, group(bundle, ["a", "b"]))
    collect_predictions(settings)
    version = open_lake(settings).table(PREDICTIONS_TABLE).version()
    assert collect_predictions(settings).days == []
    assert open_lake(settings).table(PREDICTIONS_TABLE).version() == version


def test_without_predictions_no_table_is_created(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    assert collect_predictions(settings).days == []
    assert not open_lake(settings).table(PREDICTIONS_TABLE).exists()


def test_late_segment_is_added_to_its_day(bundle: Bundle, tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    log_all(bundle, settings, group(bundle, ["b"]))
    collect_predictions(settings)
    log_all(bundle, settings, group(bundle, ["a"]), group(bundle, ["c"], NOON + DAY))
    assert collect_predictions(settings).days == [str(TODAY), str(TODAY + DAY)]
    assert customers_of(settings) == ["a", "b"]
    assert customers_of(settings, TODAY + DAY) == ["c"]


def test_utc_midnight_separates_segments(bundle: Bundle, tmp_path: Path) -> None:
    settings = settings_in(tmp_path, flush_seconds=60)
    east = dt.timezone(dt.timedelta(hours=9))
    late = dt.datetime(2026, 11, 25, 8, 59, 59, tzinfo=east)  # still the 24th in UTC
    log_all(bundle, settings, group(bundle, ["a"], late), group(bundle, ["b"], late + dt.timedelta(seconds=1)))
    collect_predictions(settings)
    assert customers_of(settings, TODAY) == ["a"]
    assert customers_of(settings, TODAY + DAY) == ["b"]


def test_models_with_different_features_share_the_table(bundle: Bundle, tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    other = contract_of(
        FeatureContract(name="segment", dtype="number", nullable=True),
        FeatureContract(name="new", dtype="number", nullable=True),
    )
    log_all(bundle, settings, group(bundle, ["a"]))
    collect_predictions(settings)
    matrix = np.array([[1.5, np.nan]], dtype=np.float32)
    log_all(Bundle(other, bundle.booster), settings, Predictions(["b"], matrix, np.array([0.5]), NOON), version="8")
    collect_predictions(settings)
    old, new = rows_of(settings)
    assert (old["category_segment"], old["number_segment"], old["model_version"]) == ("family", None, "7")
    assert (new["category_segment"], new["number_segment"], new["number_new"]) == (None, 1.5, None)


def test_features_are_not_logged_when_disabled(bundle: Bundle, tmp_path: Path) -> None:
    settings = settings_in(tmp_path, features=False)
    log_all(bundle, settings, group(bundle, ["a"]))
    collect_predictions(settings)
    (row,) = rows_of(settings)
    assert not [name for name in row if name.startswith(("number_", "category_"))]


def test_old_segments_are_removed_and_their_rows_stay(bundle: Bundle, tmp_path: Path) -> None:
    settings = settings_in(tmp_path, keep_days=1)
    log_all(
        bundle, settings, group(bundle, ["a"]), group(bundle, ["b"], NOON + DAY), group(bundle, ["c"], NOON + 2 * DAY)
    )
    assert collect_predictions(settings).removed == 1
    assert [path.parent.name for path in delivered(settings)] == [f"dt={TODAY + DAY}", f"dt={TODAY + 2 * DAY}"]
    log_all(bundle, settings, group(bundle, ["d"]))
    collect_predictions(settings)
    assert customers_of(settings) == ["a", "d"]


def _foreign(segment: Path) -> bytes:
    return b"not a segment"


def _empty(segment: Path) -> bytes:
    return b""


def _no_footer(segment: Path) -> bytes:
    return segment.read_bytes()[:-200]


def _bit_rot(segment: Path) -> bytes:
    content = bytearray(segment.read_bytes())
    content[60] ^= 1
    return bytes(content)


def _other_columns(segment: Path) -> bytes:
    return _parquet(pq.read_table(segment).drop_columns(["answered_at"]))


def _other_day(segment: Path) -> bytes:
    table = pq.read_table(segment)
    times = pa.array([NOON + DAY], table.schema.field("answered_at").type)
    return _parquet(table.set_column(0, "answered_at", times))


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_foreign, "not a Parquet file"),
        (_empty, "not a Parquet file"),
        (_no_footer, "not a Parquet file"),
        (_bit_rot, "damaged"),
        (_other_columns, "columns"),
        (_other_day, "other days"),
    ],
)
def test_damaged_segment_is_set_aside_with_the_reason(
    bundle: Bundle, tmp_path: Path, damage: Callable[[Path], bytes], reason: str
) -> None:
    settings = settings_in(tmp_path)
    log_all(bundle, settings, group(bundle, ["a"]))
    (good,) = delivered(settings)
    content = damage(good)
    good.with_name(f"{TODAY}.{settings.project}.7-abc.bad.parquet").write_bytes(content)
    (damaged,) = collect_predictions(settings).damaged
    assert reason in damaged["reason"]
    assert Path(damaged["file"]).read_bytes() == content
    assert customers_of(settings) == ["a"]
    assert collect_predictions(settings).damaged == []


@pytest.fixture(scope="module")
def segment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A delivered segment."""
    settings, bundle = settings_in(tmp_path_factory.mktemp("segment")), train_bundle()
    log_all(bundle, settings, group(bundle, ["a", "b", "c"]))
    (path,) = delivered(settings)
    return path


@hypothesis_settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_truncated_segment_is_refused(
    segment: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = segment.read_bytes()
    copy = tmp_path_factory.mktemp("copy") / segment.parent.name / segment.name
    copy.parent.mkdir()
    copy.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(SegmentError):
        SegmentStore(str(copy.parent.parent)).read(segment.name)


def _sharing(tmp_path: Path, keep_days: int = 7) -> tuple[Settings, Settings]:
    """Return the settings of two projects with one destination."""
    own = settings_in(tmp_path, uri=str(tmp_path / "prediction_log" / "shared"), keep_days=keep_days)
    return own, own.model_copy(update={"project": "other"})


def test_projects_with_one_destination_collect_only_their_own_segments(
    bundle: Bundle, others_bundle: Bundle, tmp_path: Path
) -> None:
    own, others = _sharing(tmp_path)
    log_all(bundle, own, group(bundle, ["a"]))
    log_all(others_bundle, others, group(bundle, ["b"]), group(bundle, ["c"]))
    for settings, customers in ((own, ["a"]), (others, ["b", "c"]), (own, ["a"])):
        result = collect_predictions(settings)
        assert (result.other_projects, result.damaged) == (1, [])
        assert customers_of(settings) == customers
    assert len(delivered(own)) == 2


def test_projects_with_one_spool_deliver_only_their_own_segments(
    bundle: Bundle, others_bundle: Bundle, tmp_path: Path
) -> None:
    own = settings_in(tmp_path, spool=str(tmp_path / "spool"))
    others = own.model_copy(update={"project": "other"})
    for one, settings in ((bundle, own), (others_bundle, others)):
        predictions = segment_rows(one.contract, "7", [group(one, [settings.project])], None, None, True)
        write_segment(spool_folder(settings), new_segment_name(TODAY, settings.project, "7-abc"), predictions)
    for settings in (own, others):
        collect_predictions(settings)
        assert customers_of(settings) == [settings.project]


def test_projects_with_one_destination_remove_only_their_own_segments(
    bundle: Bundle, others_bundle: Bundle, tmp_path: Path
) -> None:
    own, others = _sharing(tmp_path, keep_days=1)
    log_all(bundle, own, group(bundle, ["a"], NOON + 2 * DAY))
    log_all(others_bundle, others, group(bundle, ["b"]))
    log_all(others_bundle, others, group(bundle, ["c"], NOON + DAY))
    for settings in (own, others):
        assert collect_predictions(settings).removed == 0
    log_all(bundle, own, group(bundle, ["d"]))
    assert collect_predictions(own).removed == 1
    assert len(delivered(own)) == 3
    assert customers_of(own, TODAY) == ["d"]


def test_segment_that_disappears_during_a_collection_is_skipped(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_in(tmp_path)
    log_all(bundle, settings, group(bundle, ["a"]))
    listed = SegmentStore.segments

    def with_a_removed_segment(store: SegmentStore) -> dict[dt.date, list[str]]:
        return {day: [f"{day}.synthetic.7-abc.gone.parquet", *names] for day, names in listed(store).items()}

    monkeypatch.setattr(SegmentStore, "segments", with_a_removed_segment)
    assert collect_predictions(settings).damaged == []
    assert customers_of(settings) == ["a"]


def test_file_with_another_name_is_ignored(bundle: Bundle, tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    log_all(bundle, settings, group(bundle, ["a"]))
    (segment,) = delivered(settings)
    foreign = [segment.with_name(name) for name in ("notes.txt", "2026-13-01.synthetic.7-abc.0.parquet")]
    for path in foreign:
        path.touch()
    assert collect_predictions(settings).damaged == []
    assert all(path.exists() for path in foreign)
