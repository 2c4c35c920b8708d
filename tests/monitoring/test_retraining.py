"""Training requests: their reasons, the saving that they need, and the minimum time between them."""

from __future__ import annotations

import datetime as dt
from itertools import combinations
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.monitoring.retraining import SavingChange, expected_saving, retrain_decision, trainable_through
from include.projects import Project, load_project
from include.projects.requirements import Costs
from include.training.evaluation.change import Values, describe
from include.training.model.reference_profile import NumberProfile

DAY = dt.date(2017, 12, 18)
COOLDOWN = dt.timedelta(days=7)
MOVED = SavingChange(10_000, 8_000)
DRIFT = "drift: moved. The expected saving changed from $10,000 to $8,000 per 1,000 customers (-20%)."


@pytest.fixture(scope="module")
def project() -> Project:
    return load_project("grocery")


def found(drifted: bool = False, decayed: bool = False, incomplete: bool = False) -> dict[str, Any]:
    return {
        "drift": {"drifted": drifted, "reason": "moved."},
        "sources": [{"name": "products", "exceeds": False}, {"name": "transactions", "exceeds": incomplete}],
        "performance": {"decayed": decayed, "reason": "fell."},
    }


def reason(
    project: Project,
    result: dict[str, Any],
    trained_through: dt.date,
    day: dt.date = DAY,
    requested: tuple[dt.date, ...] = (),
    saving: SavingChange = MOVED,
) -> str | None:
    """Return the reason of the request; a day without a request must state why."""
    decision = retrain_decision(project, result, saving, trained_through, day, requested)
    assert (decision.reason is None) == bool(decision.refusal)
    return decision.reason


def reachable(project: Project) -> dt.date:
    day = trainable_through(project, DAY)
    assert day is not None
    return day


def test_model_is_fitted_through_the_last_matured_snapshot(project: Project) -> None:
    assert reachable(project) == dt.date(2017, 11, 19)  # a Sunday


def test_drift_or_decay_of_an_old_model_requests_a_training(project: Project) -> None:
    old = reachable(project) - COOLDOWN
    assert reason(project, found(drifted=True), old) == DRIFT
    assert reason(project, found(drifted=True, decayed=True), old) == "decay: fell."
    assert reason(project, found(), old) is None


def test_drift_of_incomplete_data_requests_no_training(project: Project) -> None:
    old = reachable(project) - COOLDOWN
    decision = retrain_decision(project, found(drifted=True, incomplete=True), MOVED, old, DAY)
    assert decision.reason is None
    assert "fewer rows than usual were delivered by transactions" in str(decision.refusal)
    assert reason(project, found(decayed=True, incomplete=True), old) == "decay: fell."


@pytest.mark.parametrize(("current", "requests"), [(9_001, False), (8_999, True), (10_999, False), (11_001, True)])
def test_drift_requests_a_training_only_if_it_changes_the_expected_saving(
    project: Project, current: float, requests: bool
) -> None:
    old, saving = reachable(project) - COOLDOWN, SavingChange(10_000, current)
    decision = retrain_decision(project, found(drifted=True), saving, old, DAY)
    assert bool(decision.reason) == requests
    assert f"$10,000 to ${current:,}" in (decision.reason or decision.refusal or "")
    assert reason(project, found(decayed=True), old, saving=saving) == "decay: fell."


def test_saving_that_starts_at_zero_changes_with_the_first_offer() -> None:
    assert SavingChange(0, 1).exceeds(0.1)
    assert not SavingChange(0, 0).exceeds(0.1)


@given(
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=2_000),
    st.floats(1, 1e4),
    st.floats(1, 1e4),
)
def test_expected_saving_is_near_the_mean_over_the_customers(scores: list[float], missed: float, cost: float) -> None:
    costs, probability = Costs(missed_churner_usd=missed, needless_offer_usd=cost), np.array(scores)
    exact = 1000 * float(np.maximum(probability * missed - (1 - probability) * cost, 0).mean())
    profile = cast(NumberProfile, describe(Values.of_numbers(probability)))
    # Between two quantiles, about 1 % of the customers have scores that the profile does not contain.
    assert expected_saving(profile, costs) == pytest.approx(exact, abs=0.02 * 1000 * missed)


@pytest.mark.parametrize("days", [0, 1, 6])
def test_model_younger_than_the_cooldown_requests_no_training(project: Project, days: int) -> None:
    young = reachable(project) - dt.timedelta(days=days)
    assert reason(project, found(drifted=True, decayed=True), young) is None


def test_retrained_model_requests_no_training_on_the_same_day(project: Project) -> None:
    for offset in range(60):
        day = DAY + dt.timedelta(days=offset)
        trained = trainable_through(project, day)
        assert trained is not None
        assert reason(project, found(drifted=True), trained, day) is None


def test_request_is_not_repeated_within_the_cooldown(project: Project) -> None:
    old = reachable(project) - 3 * COOLDOWN
    for ago, expected in ((1, None), (6, None), (7, DRIFT), (0, DRIFT), (-6, None), (-7, DRIFT)):
        requested = (DAY - dt.timedelta(days=ago),)
        assert reason(project, found(drifted=True), old, DAY, requested) == expected


@given(st.permutations(range(40)))
def test_requests_are_a_cooldown_apart_in_any_order_of_the_days(order: list[int]) -> None:
    project = load_project("grocery")
    old, requested = reachable(project) - 3 * COOLDOWN, set[dt.date]()
    days = [DAY + dt.timedelta(days=number) for number in order]

    def requests(day: dt.date) -> bool:
        return reason(project, found(drifted=True), old, day, tuple(requested)) is not None

    for day in days:
        requested |= {day} if requests(day) else set()
    assert all(abs(one - other) >= COOLDOWN for one, other in combinations(requested, 2))
    assert {day for day in days if requests(day)} == requested  # a second monitoring changes nothing


def test_no_request_before_a_training_is_possible(project: Project) -> None:
    early = project.first_day + dt.timedelta(days=100)
    assert trainable_through(project, early) is None
    assert trainable_through(project, project.first_day) is None
    assert reason(project, found(drifted=True), project.first_day, early) is None
