from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from simulator import Injection, World, generate
from simulator.generate import LANDING, STATE, TRUTH
from simulator.injections import InjectionError, parse_injection
from simulator.state import StateError
from tests.simulator.worlds import DAYS, FIRST, LAST, SMALL, TINY, content, day, read

pytestmark = pytest.mark.slow  # worlds of some hundred customers

CHANGES = (
    Injection(kind="late_events", from_day=day(5), strength=0.3),
    Injection(kind="duplicate_events", from_day=day(5), strength=0.3),
    Injection(kind="changed_concept", from_day=day(8), strength=1),
)


def test_seed_determines_all_bytes(tmp_path: Path) -> None:
    for name, world in {"a": TINY, "b": TINY, "other": TINY.model_copy(update={"seed": 6})}.items():
        generate(tmp_path / name, world, day(13))
    a, b, other = (content(tmp_path / name, LANDING, TRUTH) for name in ("a", "b", "other"))
    assert a == b
    assert a.keys() == other.keys()
    assert all(a[name] != other[name] for name in a if "tickets" not in name)


@pytest.mark.parametrize("injections", [(), CHANGES], ids=["plain", "with rows held back"])
def test_appended_days_equal_one_run(tmp_path: Path, injections: tuple[Injection, ...]) -> None:
    generate(tmp_path / "whole", TINY, day(40), injections)
    for last in (6, 7, 40):
        generate(tmp_path / "parts", TINY, day(last), injections)
    whole, parts = content(tmp_path / "whole", LANDING), content(tmp_path / "parts", LANDING)
    assert whole == parts
    truth = content(tmp_path / "whole", TRUTH)
    assert truth == {name: rows for name, rows in content(tmp_path / "parts", TRUTH).items() if name in truth}


def test_interrupted_run_resumes_from_its_saved_state(tmp_path: Path) -> None:
    class InterruptedRunError(Exception):
        pass

    def interrupt(reached: object, events: int) -> None:
        if reached == day(35):
            raise InterruptedRunError

    with pytest.raises(InterruptedRunError):
        generate(tmp_path / "broken", TINY, day(40), CHANGES, report=interrupt)
    assert generate(tmp_path / "broken", TINY, day(40), CHANGES).days == 11
    generate(tmp_path / "whole", TINY, day(40), CHANGES)
    assert content(tmp_path / "broken", LANDING) == content(tmp_path / "whole", LANDING)


def test_existing_days_are_kept(tmp_path: Path) -> None:
    generate(tmp_path, TINY, day(10))
    before = content(tmp_path, ".")
    assert generate(tmp_path, TINY, day(4)).days == 0
    assert content(tmp_path, ".") == before


def test_different_world_or_injections_are_an_error_without_writes(tmp_path: Path) -> None:
    generate(tmp_path, TINY, day(10))
    before = content(tmp_path, ".")
    with pytest.raises(StateError, match="another world"):
        generate(tmp_path, TINY.model_copy(update={"seed": 99}), day(12))
    with pytest.raises(StateError, match="other injections"):
        generate(tmp_path, TINY, day(12), (Injection(kind="late_events", from_day=day(3)),))
    (tmp_path / STATE).write_bytes(b"PK not a state")
    with pytest.raises(StateError, match="cannot be read"):
        generate(tmp_path, TINY, day(12))
    assert content(tmp_path, LANDING) == {name: rows for name, rows in before.items() if name.startswith(LANDING)}


def test_number_of_customers_equals_the_parameter(small: Path) -> None:
    customers = read(small, "customers")
    assert sorted(customers["customer_id"].unique()) == list(range(1, SMALL.customers + 1))
    installed = read(small, "customers", FIRST)
    assert len(installed) == SMALL.installed_base + SMALL.sign_ups(FIRST)
    assert len(list((small / LANDING / "sessions").iterdir())) == DAYS


def test_truth_is_written_weekly_and_outside_the_landing_folder(small: Path) -> None:
    sundays = [day(number) for number in range(DAYS) if day(number).weekday() == 6]
    assert sorted(path.stem for path in (small / TRUTH).iterdir()) == [str(found) for found in [*sundays, LAST]]
    for source in ("customers", "transactions", "sessions", "support_tickets"):
        names = " ".join(read(small, source, day(50)).columns)
        assert "prob" not in names
        assert "hazard" not in names
        assert "decided" not in names
    assert {path.name for path in (small / LANDING).iterdir()} == {
        "customers", "transactions", "sessions", "support_tickets"
    }  # fmt: skip


@pytest.mark.parametrize("text", ["late_events", "late_events:soon", "storm:2023-01-01", "late_events:2023-01-01:2"])
def test_invalid_injection_names_a_remedy(text: str) -> None:
    with pytest.raises(Exception, match="Remedy") as caught:
        parse_injection(text)
    assert type(caught.value).__name__ in ("DayError", InjectionError.__name__)


def test_a_season_raises_usage_in_winter_and_lowers_it_in_summer(tmp_path: Path) -> None:
    calm = World(customers=600, first_day=dt.date(2023, 1, 1), seed=2, pace_days=365)
    monthly = {}
    for season in (0.0, 0.5):
        generate(tmp_path / str(season), calm.model_copy(update={"season": season}), dt.date(2023, 7, 31))
        months = read(tmp_path / str(season), "sessions")["started_at"].dt.month
        monthly[season] = months.value_counts()
    ratio = monthly[0.5] / monthly[0.0]
    assert ratio[1] > 1.3
    assert ratio[7] < 0.7
