"""The tuner against the loop of a usual guide, on the same data and budget: ``python -m benchmarks.tuning``.

The guide's loop is Optuna around ``cross_val_score`` of an ``XGBClassifier``: 5 folds, F1, library defaults otherwise.
The product searches the same space with as many trials, by the code that trains its models. Each contender runs in a
process of its own, one after the other, and is judged by processor time and by the F1 of its choice on customers that
neither has seen. Only the search is timed, not the imports. Most of the time is the guide's: about 40 minutes on two
cores with its 50 trials. ``--one-thread`` runs the guide with ``n_jobs=1`` as well, which spares it the threads that
wait; ``--trials 15`` is a short look, and ``--rows 100000`` the full size, for a night.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import optuna
import pyarrow as pa
import typer
from numpy.typing import NDArray
from pydantic import SecretStr
from sklearn.datasets import make_classification
from sklearn.metrics import f1_score
from sklearn.model_selection import cross_val_score
from xgboost import DMatrix, XGBClassifier

from benchmarks.figures import print_figures
from include.logs import configure_json_logs
from include.projects.training import FloatRange, IntRange, Promotion, SearchSpace, Training
from include.training.data.rows import Rows, RowSplit
from include.training.data.splits import stratified_folds
from include.training.fitting.booster import Hyperparameters, fit
from include.training.tuning.trials import Search, bin_folds
from include.training.tuning.tune import tune

SEED = 20230101
FEATURES = 100
FOLDS = 5
HELD_OUT = 20_000
WORKERS = 2
CONTENDERS = ("ours", "guide", "guide_one_thread")

Matrix = NDArray[np.float32]
Labels = NDArray[np.int8]


def draw(rows: int) -> tuple[Matrix, Labels, Matrix, Labels]:
    """Return features and labels to learn from, and as of others, held out; a fifth churns, with some noise."""
    features, churned = make_classification(
        n_samples=rows + HELD_OUT,
        n_features=FEATURES,
        n_informative=25,
        weights=[0.8],
        flip_y=0.08,
        class_sep=0.7,
        random_state=SEED,
    )
    matrix, labels = features.astype(np.float32), churned.astype(np.int8)
    return matrix[:rows], labels[:rows], matrix[rows:], labels[rows:]


def guide(matrix: Matrix, churned: Labels, trials: int, n_jobs: int | None) -> dict[str, Any]:
    """Return the hyperparameters that the guide's loop finds."""

    def objective(trial: optuna.Trial) -> float:
        model = XGBClassifier(
            n_estimators=trial.suggest_int("n_estimators", 100, 500),
            max_depth=trial.suggest_int("max_depth", 3, 10),
            learning_rate=trial.suggest_float("learning_rate", 0.01, 0.3),
            subsample=trial.suggest_float("subsample", 0.6, 1.0),
            random_state=SEED,
            n_jobs=n_jobs,
        )
        return float(cross_val_score(model, matrix, churned, cv=FOLDS, scoring="f1").mean())

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=SEED))
    study.optimize(objective, n_trials=trials)
    return study.best_params


def ours(matrix: Matrix, churned: Labels, trials: int) -> dict[str, Any]:
    """Return the hyperparameters that the product's tuner finds in the guide's space."""
    training = product_training(trials)
    rows = Rows(
        days=np.full(len(churned), np.datetime64("2023-01-01")),
        customers=pa.chunked_array([[f"c{i}" for i in range(len(churned))]]),
        features=pa.table({f"f{i}": column for i, column in enumerate(matrix.T)}),
        matrix=matrix,
        churned=churned,
    )
    masks = stratified_folds(rows.customers.to_pylist(), churned, FOLDS, SEED)
    splits = [RowSplit(~mask, mask, f"fold {number}") for number, mask in enumerate(masks)]
    search = Search(bin_folds(rows, splits, training.tuning_bins), len(rows), training, "cpu", "benchmark")
    with tempfile.TemporaryDirectory(prefix="churn-tuning-") as folder:
        tuned = tune(search, Path(folder) / "journal", SecretStr(""), WORKERS)
    return tuned.chosen.model_dump() | {"figures": tuned.figures()}


def product_training(trials: int) -> Training:
    """Return a training with the guide's space, folds and metric, and the product's defaults otherwise."""
    return Training(
        every_days=1,
        n_trials=trials,
        seed=SEED,
        cv_folds=FOLDS,
        max_bin=64,
        metric="f1",
        search_space=SearchSpace(
            n_estimators=IntRange(low=100, high=500),
            max_depth=IntRange(low=3, high=10),
            learning_rate=FloatRange(low=0.01, high=0.3),
            subsample=FloatRange(low=0.6, high=1.0),
            colsample_bytree=FloatRange(low=1.0, high=1.0),
            min_child_weight=FloatRange(low=1.0, high=1.0),
        ),
        promotion=Promotion(margin_usd_per_1000=0),
    )


def held_out_f1(contender: str, chosen: dict[str, Any], data: tuple[Matrix, Labels, Matrix, Labels]) -> float:
    """Return the F1, on rows held out, of a model that the contender fits on all rows with its choice."""
    matrix, churned, others, truth = data
    if contender != "ours":
        model = XGBClassifier(**chosen, random_state=SEED, n_jobs=1).fit(matrix, churned)
        return float(f1_score(truth, model.predict(others)))
    names = [f"f{i}" for i in range(FEATURES)]
    fitted = fit(matrix, churned, names, Hyperparameters.model_validate(chosen), seed=SEED, max_bin=64, device="cpu")
    return float(f1_score(truth, fitted.booster.predict(DMatrix(others, feature_names=names)) > 0.5))


def contend(contender: str, rows: int, trials: int) -> dict[str, Any]:
    """Return what one contender, in this process, chooses, and what the search costs."""
    data = draw(rows)
    searches: dict[str, Callable[[], dict[str, Any]]] = {
        "ours": lambda: ours(*data[:2], trials),
        "guide": lambda: guide(*data[:2], trials, None),
        "guide_one_thread": lambda: guide(*data[:2], trials, 1),
    }
    cpu, wall = _cpu_seconds(), time.perf_counter()
    chosen = searches[contender]()
    cost = {"cpu_seconds": round(_cpu_seconds() - cpu, 1), "wall_seconds": round(time.perf_counter() - wall, 1)}
    figures = chosen.pop("figures", {})
    model = XGBClassifier(**chosen, random_state=SEED, n_jobs=1)
    by_guide = cross_val_score(model, *data[:2], cv=FOLDS, scoring="f1").mean()
    return {
        **cost,
        "f1": round(held_out_f1(contender, chosen, data), 4),
        "guides_cv_f1": round(float(by_guide), 4),
        "chosen": chosen,
        **({"search": figures} if figures else {}),
    }


def headline(found: dict[str, dict[str, Any]], rows: int) -> dict[str, Any]:
    """Return the figures of the comparison: what the guide's loop costs for each second of ours, and both scores."""
    mine, other = found["ours"], found["guide"]
    ratios = {f"{kind}_ratio": round(other[f"{kind}_seconds"] / mine[f"{kind}_seconds"], 1) for kind in ("cpu", "wall")}
    return {**ratios, "f1_guide": other["f1"], "f1_ours": mine["f1"], "rows": rows}


def _cpu_seconds() -> float:
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in usage)


def _in_process(contender: str, rows: int, trials: int) -> dict[str, Any]:
    print(f"{contender}: {trials} trials on {rows:,} rows ...", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "benchmarks.tuning", "--contender", contender]
    done = subprocess.run(
        [*command, "--rows", str(rows), "--trials", str(trials)], stdout=subprocess.PIPE, text=True, check=True
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{contender}: {result}", file=sys.stderr, flush=True)
    return result


def main(
    rows: Annotated[int, typer.Option(help="Rows to learn from.")] = 10_000,
    trials: Annotated[int, typer.Option(help="Trials of each contender.")] = 50,
    one_thread: Annotated[bool, typer.Option(help="Run the guide with n_jobs=1, too.")] = False,
    contender: Annotated[str, typer.Option(help="Run this one alone: " + ", ".join(CONTENDERS))] = "",
) -> None:
    """Print what each contender did and, on the last line, the figures as one JSON object."""
    if contender:
        configure_json_logs()
        print(json.dumps(contend(contender, rows, trials)))
        return
    found = {name: _in_process(name, rows, trials) for name in CONTENDERS if one_thread or name != CONTENDERS[2]}
    details: dict[str, Any] = {"features": FEATURES, "trials": trials, "held_out_rows": HELD_OUT, "contenders": found}
    if one_thread:
        one = found[CONTENDERS[2]]["cpu_seconds"] / found["ours"]["cpu_seconds"]
        details["cpu_ratio_one_thread"] = round(one, 1)
    print_figures("tuning", headline(found, rows), details)


if __name__ == "__main__":
    typer.run(main)
