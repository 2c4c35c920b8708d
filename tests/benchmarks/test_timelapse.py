"""The story of a time-lapse from simulated days, without a stack."""

import datetime as dt
import io
import itertools
import json
import threading
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from benchmarks.local_stack import copy_code
from benchmarks.timelapse.compare import RealisedDay
from benchmarks.timelapse.requests import Requests
from benchmarks.timelapse.simulation import SimulatedDay
from benchmarks.timelapse.story import draw, events, figures, story_table
from benchmarks.timelapse.world import PROJECT, Plan
from include.monitoring.incidents import Incident
from include.projects import load_project
from tests.http_servers import StubHandler, stub

PLAN = Plan(days=20, change_day=5, history_days=10, customers=100)


def simulated(number: int, **changes: object) -> SimulatedDay:
    values = {"requested": None, "promoted": None, "model_version": "1" if number < 12 else "2"}
    return SimulatedDay(day=PLAN.day(number), **(values | changes))  # type: ignore[arg-type]


DAYS = [
    *(simulated(number) for number in range(1, 10)),
    *(simulated(number) for number in (10, 11)),
    simulated(12, requested="decay", promoted=True),
    *(simulated(number) for number in range(13, 19)),
    simulated(19, requested="due", promoted=False),
    simulated(20),
]
REALISED = [
    RealisedDay(item.day, 0.8, 0.7, 900.0, 300.0)
    if item.day > PLAN.change
    else RealisedDay(item.day, 0.8, 0.8, 900.0, 900.0)
    for item in DAYS
]
CHANGES = [
    Incident(
        incident_id="decay",
        kind="decay",
        opened=PLAN.day(10),
        last_day=PLAN.day(number),
        open=change == "opened",
        change=change,
        severity=2.0,
        reported=2.0,
        peak=2.0,
        model_version="1",
        title="decay",
        lines=(f"The AUC is {level}.", "Another fact."),
        report="",
    )
    for number, change, level in ((10, "opened", "low"), (12, "resolved", "high"))
]
HINDSIGHT = {PLAN.day(number): 0.81 for number in (6, 13, 20)}


def test_the_plan_numbers_the_days_from_the_end_of_the_history() -> None:
    assert PLAN.history.first == load_project(PROJECT).first_day
    assert PLAN.simulated.first == PLAN.history.last + dt.timedelta(days=1) == PLAN.day(1)
    assert [PLAN.number(day) for day in PLAN.simulated] == list(range(1, 21))
    assert (PLAN.epilogue.first, PLAN.number(PLAN.epilogue.last)) == (PLAN.day(21), 50)
    assert PLAN.world.installed_base == pytest.approx(PLAN.customers, rel=0.02)


def test_the_events_are_in_order_and_name_their_causes() -> None:
    found = [(PLAN.number(event.day), event.kind, event.text) for event in events(PLAN, DAYS, CHANGES)]
    assert found == [
        (5, "change", "The causes of churn change."),
        (10, "incident", "Incident (decay) opened: The AUC is low."),
        (12, "incident change", "Incident (decay) resolved: The AUC is high."),
        (12, "training", "Training requested (decay): promoted."),
        (12, "deployment", "Model version 2 is deployed."),
        (19, "training", "Training requested (due): not promoted."),
    ]


def test_the_figures_compare_the_days_from_the_change_on() -> None:
    assert figures(PLAN, DAYS, REALISED, HINDSIGHT, failed_requests=0) == {
        "days": 20,
        "failed_requests": 0,
        "retrained_on": [12],
        "auc_recovered": 0.8,
        "auc_hindsight": 0.81,
        "saving_with": 900.0,
        "saving_without": 338.0,  # 15 of the 16 days save 300
    }


def test_table_and_picture_show_every_event() -> None:
    story = events(PLAN, DAYS, CHANGES)
    output = io.StringIO()
    Console(file=output, width=160).print(story_table(PLAN, story, REALISED, HINDSIGHT))
    lines = output.getvalue().splitlines()
    assert len(lines) == 1 + len(story)
    assert all(event.text in output.getvalue() for event in story)
    drawing = draw(PLAN, story, REALISED, HINDSIGHT)
    assert all(text in drawing for text in ("with retraining", "best refit in hindsight", "incident", "deployment"))
    assert drawing == draw(PLAN, story, REALISED, HINDSIGHT)


def test_the_copy_of_the_code_has_the_changed_keys(tmp_path: Path) -> None:
    changes = {"training.yaml": {"n_trials": 4}, "requirements.yaml": {"data.min_training_samples": 10}}
    copy_code(tmp_path / "code", PROJECT, changes)
    folder = tmp_path / "code" / "include" / "projects" / PROJECT
    assert yaml.safe_load((folder / "training.yaml").read_text())["n_trials"] == 4
    assert yaml.safe_load((folder / "requirements.yaml").read_text())["data"]["min_training_samples"] == 10
    before, after = load_project(PROJECT), load_project(PROJECT, folder.parent)
    assert after.monitoring == before.monitoring
    assert after.training.promotion == before.training.promotion


class _Endpoint(StubHandler):
    protocol_version = "HTTP/1.1"
    numbers = itertools.count(1)  # thread-safe, unlike an addition
    enough = threading.Event()

    def respond(self) -> None:
        number = next(self.numbers)
        if number == 50:
            self.enough.set()
        self.body()
        self.answer(json.dumps({"model_version": "7"}).encode(), 503 if number % 5 == 0 else 200)


def test_requests_without_a_correct_response_are_failed() -> None:
    with stub(_Endpoint) as port, Requests(f"http://127.0.0.1:{port}", ["1", "2"], per_second=500) as requests:
        assert _Endpoint.enough.wait(60)
    assert requests.sent >= 50
    assert requests.failed == {"HTTP 503": requests.sent // 5}
    assert requests.answers == {"7": requests.sent - requests.sent // 5}
