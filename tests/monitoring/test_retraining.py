"""Retraining requests: their reasons, and the minimum time between them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from include.monitoring.retraining import retrain_request, trainable_through
from include.projects import Project, load_project

DAY = dt.date(2017, 12, 18)
HORIZON = dt.timedelta(days=28)


@pytest.fixture(scope="module")
def project() -> Project:
    return load_project("grocery")


def found(drifted: bool = False, decayed: bool = False, incomplete: bool = False) -> dict[str, Any]:
    return {
        "drift": {"drifted": drifted, "reason": "moved"},
        "sources": [{"exceeds": False}, {"exceeds": incomplete}],
        "performance": {"decayed": decayed, "reason": "fell"},
    }


def reachable(project: Project) -> dt.date:
    day = trainable_through(project, DAY)
    assert day is not None
    return day


def test_model_is_fitted_through_the_last_matured_snapshot(project: Project) -> None:
    assert reachable(project) == dt.date(2017, 11, 19)  # a Sunday


def test_drift_or_decay_of_an_old_model_requests_a_training(project: Project) -> None:
    old = reachable(project) - HORIZON
    assert retrain_request(project, found(drifted=True), old, DAY) == "drift: moved"
    assert retrain_request(project, found(drifted=True, decayed=True), old, DAY) == "decay: fell"
    assert retrain_request(project, found(), old, DAY) is None


def test_drift_of_incomplete_data_requests_no_training(project: Project) -> None:
    old = reachable(project) - HORIZON
    assert retrain_request(project, found(drifted=True, incomplete=True), old, DAY) is None
    assert retrain_request(project, found(decayed=True, incomplete=True), old, DAY) == "decay: fell"


def test_training_on_drift_can_be_disabled(project: Project) -> None:
    calm = project.model_copy(update={"monitoring": project.monitoring.model_copy(update={"retrain_on_drift": False})})
    assert retrain_request(calm, found(drifted=True), reachable(project) - HORIZON, DAY) is None


@pytest.mark.parametrize("weeks", [0, 1, 2, 3])
def test_model_younger_than_a_horizon_requests_no_training(project: Project, weeks: int) -> None:
    young = reachable(project) - dt.timedelta(weeks=weeks)
    assert retrain_request(project, found(drifted=True, decayed=True), young, DAY) is None


def test_retrained_model_requests_no_training_on_the_same_day(project: Project) -> None:
    for offset in range(60):
        day = DAY + dt.timedelta(days=offset)
        trained = trainable_through(project, day)
        assert trained is not None
        assert retrain_request(project, found(drifted=True), trained, day) is None


def test_request_is_not_repeated_within_a_horizon(project: Project) -> None:
    old = reachable(project) - 3 * HORIZON
    for ago, expected in ((1, None), (27, None), (28, "drift: moved"), (0, "drift: moved"), (-1, "drift: moved")):
        requested = [DAY - dt.timedelta(days=ago)]
        assert retrain_request(project, found(drifted=True), old, DAY, requested) == expected


def test_no_request_before_a_training_is_possible(project: Project) -> None:
    early = project.first_day + dt.timedelta(days=100)
    assert trainable_through(project, early) is None
    assert trainable_through(project, project.first_day) is None
    assert retrain_request(project, found(drifted=True), project.first_day, early) is None
