"""A finished search: the hyperparameters chosen, and the record of every trial."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from optuna.trial import FrozenTrial

from include.training.model.fit import Hyperparameters


@dataclass(frozen=True)
class TrialRecord:
    """One trial, as it is kept with the model.

    Attributes:
        slot: Its number, from 0.
        state: ``complete``, or ``pruned`` when it fell behind before its last fold.
        score: The mean over its folds, of a pruned one over those that it reached.
        parameters: Its hyperparameters.
        fold_scores: The score of each fold that it reached.
        seconds: Its wall time.
        cpu_seconds: Its processor time.
        worker: Who ran it.
    """

    slot: int
    state: str
    score: float
    parameters: dict[str, float]
    fold_scores: tuple[float, ...]
    seconds: float
    cpu_seconds: float
    worker: int

    @classmethod
    def of(cls, slot: int, trial: FrozenTrial) -> TrialRecord:
        """Return the record of a finished trial."""
        scores = tuple(score for _, score in sorted(trial.intermediate_values.items()))
        return cls(
            slot=slot,
            state=trial.state.name.lower(),
            score=sum(scores) / len(scores),
            parameters=trial.params,
            fold_scores=scores,
            seconds=trial.user_attrs["seconds"],
            cpu_seconds=trial.user_attrs["cpu_seconds"],
            worker=trial.user_attrs["worker"],
        )


@dataclass(frozen=True)
class Tuned:
    """A finished search.

    Attributes:
        chosen: The hyperparameters of the best trial that was not pruned.
        metric: What a score is.
        score: The best trial's mean score over the folds.
        fold_scores: Its score of each fold, the earliest first.
        history: All trials, in the order of their slots.
        resumed: How many of them had been finished before.
        earlier_seconds: The wall time of those, by whichever workers.
        rows: How many rows the search used.
    """

    chosen: Hyperparameters
    metric: str
    score: float
    fold_scores: tuple[float, ...]
    history: tuple[TrialRecord, ...]
    resumed: int
    earlier_seconds: float
    rows: int

    @classmethod
    def of(
        cls, finished: Mapping[int, FrozenTrial], *, metric: str, earlier: Mapping[int, FrozenTrial], rows: int
    ) -> Tuned:
        """Choose among finished trials by slot; of equal scores the earliest slot's, whoever finished first.

        Args:
            finished: All trials.
            metric: What a score is.
            earlier: Those of them that had been finished before.
            rows: How many rows the search used.
        """
        history = tuple(TrialRecord.of(slot, trial) for slot, trial in sorted(finished.items()))
        best = max((record for record in history if record.state == "complete"), key=lambda r: (r.score, -r.slot))
        return cls(
            chosen=Hyperparameters.model_validate(best.parameters),
            metric=metric,
            score=best.score,
            fold_scores=best.fold_scores,
            history=history,
            resumed=len(earlier),
            earlier_seconds=wall_seconds(earlier.values()),
            rows=rows,
        )

    @property
    def trials(self) -> int:
        """How many trials there were."""
        return len(self.history)

    def figures(self) -> dict[str, float]:
        """Return the counts and the processor time of the search, under the names that MLflow shows."""
        pruned = sum(record.state == "pruned" for record in self.history)
        return {
            f"cv_{self.metric}": self.score,
            **{f"cv_{self.metric}_fold_{i + 1}": score for i, score in enumerate(self.fold_scores)},
            "trials_complete": self.trials - pruned,
            "trials_pruned": pruned,
            "tuning_cpu_seconds": round(sum(record.cpu_seconds for record in self.history), 2),
        }

    def as_dict(self) -> dict[str, Any]:
        """Return the search with all its trials as plain JSON types."""
        return asdict(self) | {"chosen": self.chosen.model_dump()}


def wall_seconds(trials: Iterable[FrozenTrial]) -> float:
    """Return for how long at least one of ``trials`` ran: those side by side count once, and pauses do not."""
    spans = [(trial.datetime_start, trial.datetime_complete) for trial in trials]
    total, until = 0.0, None
    for start, end in sorted((start, end) for start, end in spans if start is not None and end is not None):
        total += max((end - max(start, until or start)).total_seconds(), 0.0)
        until = max(until or end, end)
    return round(total, 2)
