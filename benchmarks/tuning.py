"""The tuner and a naive baseline on the same data and number of trials: ``python -m benchmarks.tuning``.

The naive baseline is Optuna with ``cross_val_score`` of an ``XGBClassifier``: 5 folds, F1, library defaults otherwise.
The product searches the same space with the same number of trials. Each contender runs in a process of its own, one
after the other. The figures are its processor time and the F1, on held-out rows, of the hyperparameters that it chose.
Only the search is timed, not the imports. The baseline takes most of the time: about 40 minutes on two cores with 50
trials. ``--one-thread`` also runs the baseline with ``n_jobs=1``, so that no threads wait for each other. Use
``--trials 15`` for a short run and ``--rows 100000`` for the full size.

The JSON keys name the product ``ours`` and the baseline ``guide``.
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
    """Return features and labels of training rows and of held-out rows; a fifth churns, with some noise."""
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


def naive_baseline(matrix: Matrix, churned: Labels, trials: int, n_jobs: int | None) -> dict[str, Any]:
    """Return the hyperparameters that the naive baseline finds.

    Args:
        matrix: The features, shape (n, k).
        churned: The labels, shape (n,).
        trials: Number of trials.
        n_jobs: Threads of a fit; None uses all cores.
    """

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


def product(matrix: Matrix, churned: Labels, trials: int) -> dict[str, Any]:
    """Return the hyperparameters that the product's tuner finds in the baseline's space.

    Args:
        matrix: The features, shape (n, k).
        churned: The labels, shape (n,).
        trials: Number of trials.
    """
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
    """Return a training with the baseline's space, folds and metric, and the product's defaults otherwise."""
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
    """Return the F1 on held-out rows of a model that is fitted on all training rows.

    Args:
        contender: The contender. The product fits the model with ``fit``, a baseline with ``XGBClassifier``.
        chosen: The hyperparameters.
        data: The result of ``draw``.
    """
    matrix, churned, others, truth = data
    if contender != "ours":
        model = XGBClassifier(**chosen, random_state=SEED, n_jobs=1).fit(matrix, churned)
        return float(f1_score(truth, model.predict(others)))
    names = [f"f{i}" for i in range(FEATURES)]
    fitted = fit(matrix, churned, names, Hyperparameters.model_validate(chosen), seed=SEED, max_bin=64, device="cpu")
    return float(f1_score(truth, fitted.booster.predict(DMatrix(others, feature_names=names)) > 0.5))


def contend(contender: str, rows: int, trials: int) -> dict[str, Any]:
    """Run one contender's search in this process, and return its cost, its hyperparameters and their scores.

    Args:
        contender: The contender.
        rows: Number of training rows.
        trials: Number of trials.
    """
    data = draw(rows)
    searches: dict[str, Callable[[], dict[str, Any]]] = {
        "ours": lambda: product(*data[:2], trials),
        "guide": lambda: naive_baseline(*data[:2], trials, None),
        "guide_one_thread": lambda: naive_baseline(*data[:2], trials, 1),
    }
    cpu, wall = _cpu_seconds(), time.perf_counter()
    chosen = searches[contender]()
    cost = {"cpu_seconds": round(_cpu_seconds() - cpu, 1), "wall_seconds": round(time.perf_counter() - wall, 1)}
    figures = chosen.pop("figures", {})
    model = XGBClassifier(**chosen, random_state=SEED, n_jobs=1)
    by_baseline = cross_val_score(model, *data[:2], cv=FOLDS, scoring="f1").mean()
    return {
        **cost,
        "f1": round(held_out_f1(contender, chosen, data), 4),
        "guides_cv_f1": round(float(by_baseline), 4),
        "chosen": chosen,
        **({"search": figures} if figures else {}),
    }


def headline(found: dict[str, dict[str, Any]], rows: int) -> dict[str, Any]:
    """Return the ratios of the cost, baseline over product, and both scores.

    Args:
        found: The figures of each contender.
        rows: Number of training rows.
    """
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
    rows: Annotated[int, typer.Option(help="Training rows.")] = 10_000,
    trials: Annotated[int, typer.Option(help="Trials of each contender.")] = 50,
    one_thread: Annotated[bool, typer.Option(help="Also run the baseline with n_jobs=1.")] = False,
    contender: Annotated[str, typer.Option(help="Run only this contender: " + ", ".join(CONTENDERS))] = "",
) -> None:
    """Print each contender's result and, on the last line, the figures as one JSON object."""
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
