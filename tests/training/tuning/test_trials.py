from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import xgboost as xgb
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState, create_trial
from sklearn.metrics import average_precision_score

from include.training.fitting.booster import booster_parameters
from include.training.tuning.starting_points import starting_points
from include.training.tuning.trials import (
    BATCH_SIZE,
    PATIENCE,
    Search,
    batch_of,
    best_trial,
    earlier_batches,
    end_of_search,
    hyperparameters,
    noise,
    run_trial,
)
from include.training.tuning.tune import TrialRecord
from tests.training.searches import FOLDS, drawn_search

TRIALS = 4 * BATCH_SIZE + 2


def ended(number: int, scores: list[float], state: str = "COMPLETE") -> FrozenTrial:
    return create_trial(
        state=TrialState[state],
        value=sum(scores) / len(scores) if state == "COMPLETE" else None,
        intermediate_values=dict(enumerate(scores)),
        user_attrs={"number": number},
    )


@cache
def search() -> Search:
    return drawn_search(TRIALS, trees=10)


@cache
def in_order() -> dict[int, FrozenTrial]:
    finished: dict[int, FrozenTrial] = {}
    for number in range(TRIALS):
        finished[number] = run_trial(search(), finished, number, worker=0)
    return finished


def content(number: int, trial: FrozenTrial) -> tuple[object, ...]:
    record = TrialRecord.of(number, trial)
    return record.state, record.parameters, record.fold_scores


def test_batches_are_consecutive() -> None:
    assert [list(batch_of(number, TRIALS)) for number in (0, BATCH_SIZE, TRIALS - 1)] == [
        list(range(BATCH_SIZE)),
        list(range(BATCH_SIZE, 2 * BATCH_SIZE)),
        [TRIALS - 2, TRIALS - 1],
    ]
    assert list(earlier_batches(BATCH_SIZE - 1)) == []
    assert list(earlier_batches(TRIALS - 1)) == list(range(4 * BATCH_SIZE))


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_trial_depends_on_earlier_batches_only(data: st.DataObject) -> None:
    number = data.draw(st.integers(0, TRIALS - 1))
    needed = list(earlier_batches(number))
    others = [other for other in range(TRIALS) if other not in needed]
    seen = data.draw(st.permutations(needed + data.draw(st.lists(st.sampled_from(others), unique=True))))
    again = run_trial(search(), {other: in_order()[other] for other in seen}, number, worker=1)
    assert content(number, again) == content(number, in_order()[number])


def test_prunes_trial_one_standard_error_below_the_best() -> None:
    for number, trial in in_order().items():
        rivals = [in_order()[earlier] for earlier in earlier_batches(number)]
        best, scores = best_trial(rivals), TrialRecord.of(number, trial).fold_scores
        if best is None:
            assert (trial.state.name, len(scores)) == ("COMPLETE", FOLDS)
            continue
        lead = np.mean([best.intermediate_values[fold] - score for fold, score in enumerate(scores)])
        behind = lead > noise(rivals) / len(scores) ** 0.5
        assert trial.state.name == ("PRUNED" if behind else "COMPLETE")
        assert behind or len(scores) == FOLDS
    assert {trial.state.name for trial in in_order().values()} == {"COMPLETE", "PRUNED"}


def test_noise_is_the_spread_of_the_differences_to_the_best() -> None:
    trials = [ended(0, [0.5, 0.7]), ended(1, [0.6, 0.9]), ended(2, [0.6, 0.7]), ended(3, [0.9], "PRUNED")]
    assert best_trial(trials) is trials[1]
    # The differences are (-.1, -.2) and (0, -.2); their variances are .005 and .02.
    assert noise(trials) == pytest.approx(0.0125**0.5)
    assert noise(trials[:1]) == float("inf")


def test_search_ends_without_a_significant_improvement() -> None:
    long = replace(search(), training=search().training.model_copy(update={"n_trials": 50}))
    end = PATIENCE + BATCH_SIZE
    flat = {number: ended(number, [0.5, 0.7] if number % 2 else [0.4, 0.7]) for number in range(end)}
    assert [end_of_search(long, flat, number) is None for number in range(0, end + 1, BATCH_SIZE)] == [
        *[True] * (PATIENCE // BATCH_SIZE + 1),
        False,
    ]
    better = flat | {2 * BATCH_SIZE: ended(2 * BATCH_SIZE, [0.6, 0.8])}
    assert end_of_search(long, better, end) is None
    slightly = flat | {2 * BATCH_SIZE: ended(2 * BATCH_SIZE, [0.51, 0.71])}
    assert "improved the score by 0.0100" in str(end_of_search(long, slightly, end))
    assert end_of_search(search(), better, TRIALS) == f"all {TRIALS} trials are finished"


def test_first_trials_are_the_starting_points() -> None:
    assert [in_order()[number].params for number in range(len(search().starting_points))] == search().starting_points


def test_starting_points_begin_with_the_champion_and_stay_in_the_space() -> None:
    space = search().training.search_space
    champion = {"n_estimators": 700, "max_depth": 40, "learning_rate": 0.05, "subsample": 0.7}
    champion |= {"colsample_bytree": 0.4, "min_child_weight": 3.0}
    first, *others = starting_points(space, champion)
    del champion["n_estimators"]
    assert first == champion | {"max_depth": space.max_depth.high}
    assert others == starting_points(space, None)
    for point in others:
        for name, value in point.items():
            assert getattr(space, name).low <= value <= getattr(space, name).high
    assert starting_points(space, others[0]) == others


def test_scores_equal_those_of_separate_fits() -> None:
    """A trial's scores are those of boosters that were fitted with its number of trees."""
    trial = in_order()[0]
    chosen = hyperparameters(trial)
    assert chosen.n_estimators in search().tree_counts
    parameters = booster_parameters(chosen, seed=search().training.seed, max_bin=32, device="cpu")
    for number, fold in enumerate(search().folds):
        predicted = xgb.train(parameters, fold.train, chosen.n_estimators).predict(fold.valid)
        assert average_precision_score(fold.churned, predicted) == trial.intermediate_values[number]
