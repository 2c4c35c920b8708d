"""Processor time until the usual loop's score is reached: ``python -m benchmarks.tuning``.

The usual loop is Optuna with ``cross_val_score`` of an ``XGBClassifier``: 5 folds, F1, and library defaults except for
``n_jobs=1`` (with the default, waiting threads cost more processor time). The product searches the same space, with its
own defaults otherwise and one worker. Each seed draws other rows and seeds both searches. The searches run one after
the other in this process; imports are not timed.

After each trial, the hyperparameters that a search would choose are known, with the processor time since its start.
Their score is the F1 of a model that is fitted on all training rows, untimed, on 20,000 held-out rows that no search
uses. The figures are:

* ``cpu_ratio_to_equal_score``: the loop's time for all its trials, divided by the product's time until the score of its
  choice is at least the loop's final score and stays so in all later trials; the geometric mean over the seeds. If the
  product does not reach the score for a seed, the ratio of the seed is 1, as if both searches had taken the same time,
  or the ratio of the times of both whole searches if that is lower. ``seeds_not_reached`` in the details is the
  number of these seeds.
* ``f1_naive``, ``f1_ours``: the mean held-out scores of the final choices of the loop and of the product.
* ``at_equal_cpu`` in the details: for each number of the loop's trials, the product's held-out score minus the loop's
  after the same processor time: the mean over the seeds and its standard error. The product stops when the score no
  longer improves significantly, and keeps its choice from then on.

The usual loop takes nearly all of the time: about 50 processor seconds for each trial and seed. ``--baseline FOLDER``
stores its results, and reads them if they are there.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import optuna
import pyarrow as pa
import typer
from numpy.typing import NDArray
from optuna.trial import FrozenTrial
from pydantic import SecretStr
from sklearn.datasets import make_classification
from sklearn.metrics import f1_score
from sklearn.model_selection import cross_val_score
from xgboost import DMatrix, XGBClassifier

from benchmarks.figures import print_figures, report
from include.projects.training import FloatRange, IntRange, Promotion, SearchSpace, Training
from include.training.data.rows import Rows, RowSplit
from include.training.data.splits import stratified_folds
from include.training.fitting.booster import fit
from include.training.recipe import Hyperparameters
from include.training.tuning.starting_points import starting_points
from include.training.tuning.study import SharedStudy
from include.training.tuning.trials import Search, best_trial, bin_folds, end_of_search, hyperparameters
from include.training.tuning.workers import work

FEATURES = 100
FOLDS = 5
HELD_OUT = 20_000
MAX_BIN = 256
SPACE = SearchSpace(
    n_estimators=IntRange(low=100, high=500),
    max_depth=IntRange(low=3, high=10),
    learning_rate=FloatRange(low=0.01, high=0.3),
    subsample=FloatRange(low=0.6, high=1.0),
    colsample_bytree=FloatRange(low=1.0, high=1.0),
    min_child_weight=FloatRange(low=1.0, high=1.0),
)


Matrix = NDArray[np.float32]
Labels = NDArray[np.int8]


@dataclass(frozen=True)
class Choice:
    """The hyperparameters that a search would choose after a trial.

    Attributes:
        cpu_seconds: The processor time of the search so far.
        chosen: The hyperparameters.
        f1: The F1 on the held-out rows.
    """

    cpu_seconds: float
    chosen: dict[str, Any]
    f1: float


@dataclass(frozen=True)
class Data:
    """Training rows and held-out rows, of which a fifth churn; ``seed`` seeds the draw and both searches."""

    seed: int
    matrix: Matrix
    churned: Labels
    others: Matrix
    truth: Labels


def draw(rows: int, seed: int) -> Data:
    """Return ``rows`` training rows and the held-out rows."""
    features, churned = make_classification(
        n_samples=rows + HELD_OUT,
        n_features=FEATURES,
        n_informative=25,
        weights=[0.8],
        flip_y=0.08,
        class_sep=0.7,
        random_state=seed,
    )
    matrix, labels = features.astype(np.float32), churned.astype(np.int8)
    return Data(seed, matrix[:rows], labels[:rows], matrix[rows:], labels[rows:])


def naive(data: Data, trials: int) -> list[Choice]:
    """Run the usual loop, and return its choice after each trial."""

    def objective(trial: optuna.Trial) -> float:
        model = XGBClassifier(
            n_estimators=trial.suggest_int("n_estimators", 100, 500),
            max_depth=trial.suggest_int("max_depth", 3, 10),
            learning_rate=trial.suggest_float("learning_rate", 0.01, 0.3),
            subsample=trial.suggest_float("subsample", 0.6, 1.0),
            random_state=data.seed,
            n_jobs=1,
        )
        return float(cross_val_score(model, data.matrix, data.churned, cv=FOLDS, scoring="f1").mean())

    def held_out(chosen: dict[str, Any]) -> float:
        model = XGBClassifier(**chosen, random_state=data.seed, n_jobs=1).fit(data.matrix, data.churned)
        return float(f1_score(data.truth, model.predict(data.others)))

    started, found = time.process_time(), []
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=data.seed))
    study.optimize(
        objective,
        trials,
        callbacks=[lambda study, _: found.append((time.process_time() - started, study.best_params))],
    )
    return _scored(found, held_out)


def product(data: Data, trials: int) -> tuple[list[Choice], str]:
    """Run the product's search, and return its choice after each trial and the reason of its end."""

    def held_out(chosen: dict[str, Any]) -> float:
        wanted = Hyperparameters.model_validate(chosen)
        names = [f"f{i}" for i in range(FEATURES)]
        model = fit(data.matrix, data.churned, names, wanted, seed=data.seed, max_bin=MAX_BIN, device="cpu")
        return float(f1_score(data.truth, model.booster.predict(DMatrix(data.others, feature_names=names)) > 0.5))

    started, found = time.process_time(), []

    class TimedStudy(SharedStudy):
        def add(self, trial: FrozenTrial) -> None:
            super().add(trial)
            # The first trial of a search is always complete.
            if best := best_trial(self.finished().values()):
                found.append((time.process_time() - started, hyperparameters(best).model_dump()))

    search = _search(data, trials)
    with tempfile.TemporaryDirectory(prefix="churn-tuning-") as folder:
        study = TimedStudy(search.name, Path(folder) / "journal", SecretStr(""))
        work(search, study, worker=0, workers=1)
        ended = end_of_search(search, study.finished(), len(found))
    return _scored(found, held_out), str(ended)


def compare(loop: list[Choice], mine: list[Choice]) -> dict[str, Any]:
    """Return the figures of one seed.

    Args:
        loop: The usual loop's choices.
        mine: The product's choices.
    """
    wanted = loop[-1].f1
    later = next((i for i in reversed(range(len(mine))) if mine[i].f1 < wanted), -1) + 1
    reached = later < len(mine)
    cpu = mine[later if reached else -1].cpu_seconds
    ratio = loop[-1].cpu_seconds / cpu
    return {
        "ratio": round(ratio if reached else min(ratio, 1.0), 1),
        "reached_after_cpu_seconds": round(cpu, 1) if reached else None,
        "reached_after_trials": later + 1 if reached else None,
        "cpu_naive": round(loop[-1].cpu_seconds, 1),
        "cpu_ours": round(mine[-1].cpu_seconds, 1),
        "f1_naive": round(wanted, 4),
        "f1_ours": round(mine[-1].f1, 4),
        "trials_ours": len(mine),
        "chosen_naive": loop[-1].chosen,
        "chosen_ours": mine[-1].chosen,
    }


def at_equal_cpu(pairs: list[tuple[list[Choice], list[Choice]]]) -> dict[int, dict[str, float]]:
    """Return the mean advantage in F1 over the seeds and its standard error, by the number of the loop's trials.

    Args:
        pairs: The choices of the loop and of the product, by seed.
    """
    figures = {}
    for trials in range(5, len(pairs[0][0]) + 1, 5):
        gains = []
        for loop, mine in pairs:
            there = loop[trials - 1]
            known = [choice for choice in mine if choice.cpu_seconds <= there.cpu_seconds]
            gains.append((known[-1].f1 if known else 0.0) - there.f1)
        error = np.std(gains, ddof=1) / len(gains) ** 0.5 if len(gains) > 1 else float("nan")
        figures[trials] = {"gain": round(float(np.mean(gains)), 4), "standard_error": round(float(error), 4)}
    return figures


def _search(data: Data, trials: int) -> Search:
    training = Training(
        every_days=1,
        n_trials=trials,
        seed=data.seed,
        cv_folds=FOLDS,
        max_bin=MAX_BIN,
        metric="f1",
        search_space=SPACE,
        promotion=Promotion(margin_usd_per_1000=0),
    )
    rows = Rows(
        days=np.full(len(data.churned), np.datetime64("2023-01-01")),
        customers=pa.chunked_array([[f"c{i}" for i in range(len(data.churned))]]),
        features=pa.table({f"f{i}": column for i, column in enumerate(data.matrix.T)}),
        matrix=data.matrix,
        churned=data.churned,
    )
    masks = stratified_folds(rows.customers.to_pylist(), rows.churned, FOLDS, data.seed)
    splits = [RowSplit(~mask, mask, f"fold {number}") for number, mask in enumerate(masks)]
    folds = bin_folds(rows, splits, training.tuning_bins)
    return Search(folds, len(rows), training, starting_points(SPACE, None), "cpu", "benchmark")


def _scored(found: list[tuple[float, dict[str, Any]]], held_out: Callable[[dict[str, Any]], float]) -> list[Choice]:
    scores: dict[str, float] = {}
    for _, chosen in found:
        if str(chosen) not in scores:
            scores[str(chosen)] = held_out(chosen)
    return [Choice(round(cpu, 2), chosen, scores[str(chosen)]) for cpu, chosen in found]


def _stored(folder: Path | None, data: Data, trials: int) -> list[Choice]:
    """Return the usual loop's choices, from ``folder`` if it has them."""
    path = folder / f"{len(data.churned)}-{data.seed}.json" if folder else None
    if path and path.exists():
        choices = [Choice(**choice) for choice in json.loads(path.read_text())]
        if len(choices) >= trials:
            return choices[:trials]
    choices = naive(data, trials)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([asdict(choice) for choice in choices]))
    return choices


def main(
    rows: Annotated[int, typer.Option(help="Training rows.")] = 10_000,
    trials: Annotated[int, typer.Option(help="Trials of the usual loop.")] = 15,
    seeds: Annotated[int, typer.Option(help="Number of seeds.")] = 5,
    max_trials: Annotated[int, typer.Option(help="Largest number of trials of the product.")] = 50,
    baseline: Annotated[Path | None, typer.Option(help="Store the usual loop's results, or read them.")] = None,
) -> None:
    """Print each seed's result and, on the last line, the figures as one JSON object."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pairs, found = [], []
    for seed in range(1, seeds + 1):
        data = draw(rows, seed)
        mine, ended = product(data, max_trials)
        loop = _stored(baseline, data, trials)
        pairs.append((loop, mine))
        found.append({"seed": seed, **compare(loop, mine), "ended": ended})
        report(json.dumps(found[-1]))
    print_figures(
        "tuning",
        {
            "cpu_ratio_to_equal_score": round(float(np.exp(np.mean([np.log(seed["ratio"]) for seed in found]))), 1),
            "f1_naive": round(float(np.mean([seed["f1_naive"] for seed in found])), 4),
            "f1_ours": round(float(np.mean([seed["f1_ours"] for seed in found])), 4),
            "seeds": seeds,
            "rows": rows,
        },
        {
            "trials_naive": trials,
            "seeds_not_reached": sum(seed["reached_after_trials"] is None for seed in found),
            "at_equal_cpu": at_equal_cpu(pairs),
            "by_seed": found,
        },
    )


if __name__ == "__main__":
    typer.run(main)
