"""Parts into the lake: each answer once, whatever happened to the parts on the way."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from include.lake import open_lake
from include.lake.table_names import PREDICTIONS_TABLE
from include.serving.prediction_log.collect import collect_predictions
from include.serving.prediction_log.parts import PartStore
from include.settings import Settings
from include.training.model.bundle import Bundle
from include.training.model.contract import FeatureContract
from tests.serving.conftest import synthetic_columns, train_bundle
from tests.serving.prediction_log.logs import NOON, TODAY, customers_of, group, log_all, parts_of, rows_of, settings_in
from tests.training.contracts import contract_of

DAY = dt.timedelta(days=1)


@pytest.fixture(scope="module")
def others_bundle(bundle: Bundle) -> Bundle:
    """The model of another project."""
    return Bundle(bundle.contract.model_copy(update={"project": "other"}), bundle.booster)


def test_an_answer_is_in_the_lake_as_it_was_given(bundle: Bundle, tmp_path: Path) -> None:
    settings, columns = settings_in(tmp_path), synthetic_columns(4, seed=5)
    yesterday = TODAY - DAY
    answers = group(bundle, ["a", "b", "c", "d"], features_day=yesterday)
    log_all(bundle, settings, answers)
    result = collect_predictions(settings)
    assert (result.days, result.parts, result.rows) == ([str(TODAY)], 1, 4)
    (part,) = parts_of(settings)
    for row, found in enumerate(rows_of(settings)):
        probability = float(answers.probabilities[row])
        assert found == {
            "dt": TODAY,
            "answered_at": NOON,
            "customer_id": answers.customer_ids[row],
            "model_version": "7",
            "churn_probability": probability,
            "prediction": bundle.contract.decide(probability),
            "features_day": yesterday,
            "shadow_version": None,
            "shadow_probability": None,
            "shadow_prediction": None,
            "part": part.name,
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


def test_without_answers_there_is_nothing_to_collect(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    assert collect_predictions(settings).days == []
    assert not open_lake(settings).table(PREDICTIONS_TABLE).exists()


def test_a_part_that_comes_late_joins_its_day(bundle: Bundle, tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    log_all(bundle, settings, group(bundle, ["b"]))
    collect_predictions(settings)
    log_all(bundle, settings, group(bundle, ["a"]), group(bundle, ["c"], NOON + DAY))
    assert collect_predictions(settings).days == [str(TODAY), str(TODAY + DAY)]
    assert customers_of(settings) == ["a", "b"]
    assert customers_of(settings, TODAY + DAY) == ["c"]


def test_midnight_parts_the_parts(bundle: Bundle, tmp_path: Path) -> None:
    settings = settings_in(tmp_path, flush_seconds=5)
    east = dt.timezone(dt.timedelta(hours=9))
    late = dt.datetime(2026, 11, 25, 8, 59, 59, tzinfo=east)  # still the 24th in UTC
    log_all(bundle, settings, group(bundle, ["a"], late), group(bundle, ["b"], late + dt.timedelta(seconds=1)))
    collect_predictions(settings)
    assert customers_of(settings, TODAY) == ["a"]
    assert customers_of(settings, TODAY + DAY) == ["b"]


def test_models_of_different_features_share_the_table(bundle: Bundle, tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    other = contract_of(
        FeatureContract(name="segment", dtype="number", nullable=True),
        FeatureContract(name="new", dtype="number", nullable=True),
    )
    log_all(bundle, settings, group(bundle, ["a"]))
    collect_predictions(settings)
    new = group(bundle, ["b"])
    matrix = np.array([[1.5, np.nan]], dtype=np.float32)
    log_all(Bundle(other, bundle.booster), settings, type(new)(["b"], matrix, new.probabilities, NOON), version="8")
    collect_predictions(settings)
    old, new_row = rows_of(settings)
    assert (old["category_segment"], old["number_segment"], old["model_version"]) == ("family", None, "7")
    assert (new_row["category_segment"], new_row["number_segment"], new_row["number_new"]) == (None, 1.5, None)


def test_features_can_be_left_out(bundle: Bundle, tmp_path: Path) -> None:
    settings = settings_in(tmp_path, features=False)
    log_all(bundle, settings, group(bundle, ["a"]))
    collect_predictions(settings)
    (row,) = rows_of(settings)
    assert not [name for name in row if name.startswith(("number_", "category_"))]


def test_old_parts_go_and_their_rows_stay(bundle: Bundle, tmp_path: Path) -> None:
    settings = settings_in(tmp_path, keep_days=1)
    log_all(
        bundle, settings, group(bundle, ["a"]), group(bundle, ["b"], NOON + DAY), group(bundle, ["c"], NOON + 2 * DAY)
    )
    assert collect_predictions(settings).removed == 1
    assert [part.parent.name for part in parts_of(settings)] == [f"dt={TODAY + DAY}", f"dt={TODAY + 2 * DAY}"]
    log_all(bundle, settings, group(bundle, ["d"]))
    collect_predictions(settings)
    assert customers_of(settings) == ["a", "d"]


def _foreign(part: Path, folder: Path) -> tuple[bytes, str]:
    return b"not a part", "not a part of format 1"


def _empty(part: Path, folder: Path) -> tuple[bytes, str]:
    return b"", "not a part of format 1"


def _header_alone(part: Path, folder: Path) -> tuple[bytes, str]:
    return part.read_bytes()[:-200], "no whole batch"


def _other_columns(part: Path, folder: Path) -> tuple[bytes, str]:
    table = pa.ipc.open_stream(part.read_bytes()).read_all()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema.remove(0)) as stream:
        stream.write_table(table.drop_columns(["answered_at"]))
    return sink.getvalue().to_pybytes(), "columns"


def _other_day(part: Path, folder: Path) -> tuple[bytes, str]:
    table = pa.ipc.open_stream(part.read_bytes()).read_all()
    moments = pa.array([NOON + DAY], table.schema.field("answered_at").type)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table.set_column(0, table.schema.field(0), moments).cast(table.schema))
    return sink.getvalue().to_pybytes(), "other days"


def _bit_rot(part: Path, folder: Path) -> tuple[bytes, str]:
    content = bytearray(part.read_bytes())
    content[-300:-200] = b"\xff" * 100
    return bytes(content), "damaged"


@pytest.mark.parametrize("spoil", [_foreign, _empty, _header_alone, _other_columns, _other_day, _bit_rot])
def test_what_is_no_part_goes_aside_with_its_reason(bundle: Bundle, tmp_path: Path, spoil) -> None:  # type: ignore[no-untyped-def]
    settings = settings_in(tmp_path)
    log_all(bundle, settings, group(bundle, ["a"]))
    (good,) = parts_of(settings)
    content, reason = spoil(good, tmp_path)
    bad = good.with_name(f"{TODAY}_bad.arrows")
    bad.write_bytes(content)
    result = collect_predictions(settings)
    assert [reason in aside["reason"] for aside in result.put_aside] == [True]
    assert Path(result.put_aside[0]["file"]).read_bytes() == content
    assert customers_of(settings) == ["a"]
    assert collect_predictions(settings).put_aside == []


def _sharing(tmp_path: Path, keep_days: int = 7) -> tuple[Settings, Settings]:
    """Return the settings of two projects that deliver to one place."""
    mine = settings_in(tmp_path, uri=str(tmp_path / "prediction_log" / "shared"), keep_days=keep_days)
    return mine, mine.model_copy(update={"project": "other"})


def test_projects_that_deliver_to_one_place_collect_their_own_answers(
    bundle: Bundle, others_bundle: Bundle, tmp_path: Path
) -> None:
    mine, others = _sharing(tmp_path)
    log_all(bundle, mine, group(bundle, ["a"]))
    log_all(others_bundle, others, group(bundle, ["b"]), group(bundle, ["c"]))
    for settings, customers, of_others in ((mine, ["a"], 1), (others, ["b", "c"], 1), (mine, ["a"], 1)):
        result = collect_predictions(settings)
        assert (result.of_others, result.put_aside) == (of_others, [])
        assert customers_of(settings) == customers
    assert len(parts_of(mine)) == 2


def test_another_projects_parts_are_neither_removed_nor_a_reason_to_remove(
    bundle: Bundle, others_bundle: Bundle, tmp_path: Path
) -> None:
    mine, others = _sharing(tmp_path, keep_days=1)
    log_all(bundle, mine, group(bundle, ["a"], NOON + 2 * DAY))
    log_all(others_bundle, others, group(bundle, ["b"]))
    log_all(others_bundle, others, group(bundle, ["c"], NOON + DAY))
    for settings in (mine, others):
        assert collect_predictions(settings).removed == 0
    log_all(bundle, mine, group(bundle, ["d"]))
    assert collect_predictions(mine).removed == 1
    assert len(parts_of(mine)) == 3
    assert customers_of(mine, TODAY) == ["d"]


def test_a_part_that_another_project_removes_meanwhile_is_no_error(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_in(tmp_path)
    log_all(bundle, settings, group(bundle, ["a"]))
    there = PartStore.days

    def with_one_that_is_gone(store: PartStore) -> dict[dt.date, list[str]]:
        return {day: [f"{day}_gone.arrows", *names] for day, names in there(store).items()}

    monkeypatch.setattr(PartStore, "days", with_one_that_is_gone)
    assert collect_predictions(settings).put_aside == []
    assert customers_of(settings) == ["a"]


def test_a_file_of_another_name_is_left_alone(bundle: Bundle, tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    log_all(bundle, settings, group(bundle, ["a"]))
    (part,) = parts_of(settings)
    stranger = part.with_name("notes.txt")
    stranger.write_text("mine")
    assert collect_predictions(settings).put_aside == []
    assert stranger.exists()


@pytest.fixture(scope="module")
def three_batches(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[int]]:
    """A part of three batches, and where each of them ends."""
    from include.serving.prediction_log.answers import part_batch, part_schema
    from include.serving.prediction_log.spool import SpoolFile

    bundle, folder = train_bundle(), tmp_path_factory.mktemp("parts")
    schema = part_schema(bundle.contract, "7", None, True)
    part = SpoolFile(folder, TODAY, "7-abc", schema)
    ends = []
    for number in range(3):
        part.write(part_batch(schema, bundle.contract, [group(bundle, [f"c{number}"])], None, None))
        ends.append(part.size)
    part.close()
    return part.path.read_bytes(), ends


def test_an_old_part_that_was_put_aside_is_not_looked_for(
    bundle: Bundle, three_batches: tuple[bytes, list[int]], tmp_path: Path
) -> None:
    content, ends = three_batches
    settings = settings_in(tmp_path, keep_days=1)
    part = settings.home / "prediction_log" / settings.project / f"dt={TODAY}" / f"{TODAY}_x.arrows"
    part.parent.mkdir(parents=True)
    part.write_bytes(content[: ends[1] - 200] + b"\xff" * 100 + content[ends[1] - 100 :])
    log_all(bundle, settings, group(bundle, ["new"], NOON + 2 * DAY))
    result = collect_predictions(settings)
    assert ([aside["reason"] for aside in result.put_aside], result.removed) == (["A batch is damaged."], 0)
    assert customers_of(settings) == ["c0"]


@hypothesis_settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_part_that_is_cut_anywhere_counts_up_to_its_last_whole_batch(
    three_batches: tuple[bytes, list[int]], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content, ends = three_batches
    cut = data.draw(st.integers(ends[0], len(content)))
    settings = settings_in(tmp_path_factory.mktemp("cut"))
    part = settings.home / "prediction_log" / settings.project / f"dt={TODAY}" / f"{TODAY}_x.arrows"
    part.parent.mkdir(parents=True)
    part.write_bytes(content[:cut])
    result = collect_predictions(settings)
    assert customers_of(settings) == [f"c{number}" for number, end in enumerate(ends) if end <= cut]
    assert result.put_aside == []
    # Half of the mark at the very end is neither.
    assert cut > ends[-1] or result.cut_off == any(begin < cut < end for begin, end in pairwise(ends))
