from __future__ import annotations

import datetime as dt

from optuna.trial import FrozenTrial, TrialState

from include.training.tuning.tune import wall_seconds

START = dt.datetime(2026, 1, 1, 12)  # noqa: DTZ001 - Optuna's times have no zone


def trial(begin: float, end: float) -> FrozenTrial:
    """Return a trial that ran between two moments, in seconds."""
    return FrozenTrial(
        number=0,
        trial_id=0,
        state=TrialState.COMPLETE,
        value=0.5,
        datetime_start=START + dt.timedelta(seconds=begin),
        datetime_complete=START + dt.timedelta(seconds=end),
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
    )


def test_wall_time_of_parallel_trials() -> None:
    side_by_side = [trial(0, 10), trial(1, 4), trial(8, 12)]
    after_a_crash = [trial(100, 103)]
    assert wall_seconds([*after_a_crash, *side_by_side]) == 15
    assert wall_seconds([]) == 0
