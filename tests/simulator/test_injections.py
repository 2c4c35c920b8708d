from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from simulator import Injection, World, generate
from simulator.generate import LANDING
from tests.simulator.worlds import FIRST, content, day, read

pytestmark = pytest.mark.slow  # worlds of some hundred customers

WORLD = World(customers=1_500, first_day=FIRST, seed=8, pace_days=100)
FROM, LAST = day(20), day(35)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plain")
    generate(out, WORLD, LAST)
    return out


def injected(out: Path, *injections: Injection) -> Path:
    generate(out, WORLD, LAST, injections)
    return out


def test_injection_changes_nothing_before_its_day(plain: Path, tmp_path: Path) -> None:
    kinds = ("covariate_shift", "missing_values", "column_renamed", "column_added", "column_retyped", "late_events")
    more = ("duplicate_events", "changed_concept", "dead_source")
    injected(tmp_path, *(Injection(kind=kind, from_day=FROM) for kind in [*kinds, *more]))
    before = {name: rows for name, rows in content(plain, LANDING).items() if Path(name).stem < str(FROM)}
    after = content(tmp_path, LANDING)
    assert before == {name: after[name] for name in before}


def test_covariate_shift_makes_sessions_more_frequent_and_shorter(plain: Path, tmp_path: Path) -> None:
    shifted = injected(tmp_path, Injection(kind="covariate_shift", from_day=FROM, strength=0.5))
    days = [day(number) for number in range(20, 30)]
    before, after = read(plain, "sessions", *days), read(shifted, "sessions", *days)
    assert len(after) / len(before) == pytest.approx(1.5, rel=0.1)
    assert after["duration_s"].median() < 0.8 * before["duration_s"].median()


def test_missing_values_have_the_injected_share(tmp_path: Path) -> None:
    holes = injected(tmp_path, Injection(kind="missing_values", from_day=FROM, strength=0.3))
    days = [day(number) for number in range(20, 36)]
    assert read(holes, "sessions", *days)["duration_s"].isna().mean() == pytest.approx(0.3, abs=0.03)
    assert read(holes, "transactions", *days)["method"].isna().mean() == pytest.approx(0.3, abs=0.06)
    assert read(holes, "customers", *days)["age"].isna().any()
    assert not read(holes, "sessions", *days)["customer_id"].isna().any()


def test_injected_schema_changes(plain: Path, tmp_path: Path) -> None:
    kinds = ("column_renamed", "column_retyped", "column_added")
    outs = {kind: injected(tmp_path / kind, Injection(kind=kind, from_day=FROM)) for kind in kinds}
    before = read(plain, "sessions", FROM)
    sessions = {kind: read(out, "sessions", FROM) for kind, out in outs.items()}
    assert set(before.columns) - set(sessions["column_renamed"].columns) == {"duration_s"}
    assert set(sessions["column_added"].columns) - set(before.columns) == {"app_version"}
    assert list(sessions["column_retyped"]["duration_s"]) == [f"{value} s" for value in before["duration_s"]]


def test_late_events_arrive_three_days_later(plain: Path, tmp_path: Path) -> None:
    late = injected(tmp_path, Injection(kind="late_events", from_day=FROM, strength=0.2))
    for source, moment in {"sessions": "started_at", "transactions": "paid_at"}.items():
        own = read(plain, source, FROM)
        delivered, later = read(late, source, FROM), read(late, source, day(23))
        belated = later[later[moment].dt.date == FROM]
        assert 0 < len(belated) < 0.4 * len(own)
        both = pd.concat([delivered, belated]).sort_values(own.columns[0]).reset_index(drop=True)
        pd.testing.assert_frame_equal(both, own)


def test_duplicate_events_occur_in_their_own_file_and_the_next(plain: Path, tmp_path: Path) -> None:
    doubled = injected(tmp_path, Injection(kind="duplicate_events", from_day=FROM, strength=0.2))
    own, today, tomorrow = (
        read(plain, "sessions", FROM),
        read(doubled, "sessions", FROM),
        read(doubled, "sessions", day(21)),
    )
    assert today["session_id"].duplicated().mean() == pytest.approx(0.2 / 1.2, abs=0.03)
    pd.testing.assert_frame_equal(today.drop_duplicates().reset_index(drop=True), own)
    again = tomorrow[tomorrow["started_at"].dt.date == FROM]
    assert len(again) / len(own) == pytest.approx(0.2, abs=0.04)
    assert set(again["session_id"]) <= set(own["session_id"])


def test_dead_source_delivers_no_more_files(tmp_path: Path) -> None:
    dead = injected(tmp_path, Injection(kind="dead_source", from_day=FROM))
    tickets = sorted(path.stem for path in (dead / LANDING / "support_tickets").iterdir())
    assert tickets[-1] == str(day(19))
    assert (dead / LANDING / "sessions" / f"{LAST}.parquet").exists()
