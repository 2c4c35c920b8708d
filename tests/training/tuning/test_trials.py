from __future__ import annotations

from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import FrozenTrial

from include.training.tuning.trials import BATCH_SIZE, Search, batch_of, earlier_batches, run_trial
from include.training.tuning.tune import TrialRecord
from tests.training.searches import FOLDS, drawn_search

TRIALS = 4 * BATCH_SIZE + 2


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


def test_prunes_trial_behind_the_best_in_two_folds() -> None:
    for number, trial in in_order().items():
        rivals = [in_order()[earlier] for earlier in earlier_batches(number)]
        complete = [rival for rival in rivals if rival.state.name == "COMPLETE"]
        scores = TrialRecord.of(number, trial).fold_scores
        best = max(complete, key=lambda rival: rival.value or 0, default=None)
        behind = best is not None and all(scores[fold] < best.intermediate_values[fold] for fold in (0, 1))
        if behind:
            assert (trial.state.name, len(scores)) == ("PRUNED", 2)
        elif trial.state.name == "COMPLETE":
            assert len(scores) == FOLDS
    assert {trial.state.name for trial in in_order().values()} == {"COMPLETE", "PRUNED"}
