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
    for slot in range(TRIALS):
        finished[slot] = run_trial(search(), finished, slot, worker=0)
    return finished


def what(slot: int, trial: FrozenTrial) -> tuple[object, ...]:
    record = TrialRecord.of(slot, trial)
    return record.state, record.parameters, record.fold_scores


def test_generations_follow_each_other() -> None:
    assert [list(batch_of(slot, TRIALS)) for slot in (0, BATCH_SIZE, TRIALS - 1)] == [
        list(range(BATCH_SIZE)),
        list(range(BATCH_SIZE, 2 * BATCH_SIZE)),
        [TRIALS - 2, TRIALS - 1],
    ]
    assert list(earlier_batches(BATCH_SIZE - 1)) == []
    assert list(earlier_batches(TRIALS - 1)) == list(range(4 * BATCH_SIZE))


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_trial_depends_on_earlier_generations_alone(data: st.DataObject) -> None:
    slot = data.draw(st.integers(0, TRIALS - 1))
    needed = list(earlier_batches(slot))
    others = [other for other in range(TRIALS) if other not in needed]
    seen = data.draw(st.permutations(needed + data.draw(st.lists(st.sampled_from(others), unique=True))))
    again = run_trial(search(), {other: in_order()[other] for other in seen}, slot, worker=1)
    assert what(slot, again) == what(slot, in_order()[slot])


def test_a_trial_behind_the_best_in_its_first_two_folds_is_given_up() -> None:
    for slot, trial in in_order().items():
        rivals = [in_order()[earlier] for earlier in earlier_batches(slot)]
        complete = [rival for rival in rivals if rival.state.name == "COMPLETE"]
        scores = TrialRecord.of(slot, trial).fold_scores
        best = max(complete, key=lambda rival: rival.value or 0, default=None)
        behind = best is not None and all(scores[fold] < best.intermediate_values[fold] for fold in (0, 1))
        if behind:
            assert (trial.state.name, len(scores)) == ("PRUNED", 2)
        elif trial.state.name == "COMPLETE":
            assert len(scores) == FOLDS
    assert {trial.state.name for trial in in_order().values()} == {"COMPLETE", "PRUNED"}
