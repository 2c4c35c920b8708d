"""From landing files to a served model, and one more day, at full size: ``make bench NAME=fullsize``.

A simulated subscription business has ``--customers`` over two years. Each step of the product runs in a process of its
own, as under Airflow. The peak memory of a step is that of this process and its children together. ``total_s`` is the
time from the landing files to a model whose server has answered; simulating the business is not part of it. The steps
of the next day follow: ingest, list, online store, prediction log and monitoring. A learning curve at the end shows
what a data set costs that is only a sample of the customers.
"""

from __future__ import annotations

import datetime as dt
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import suppress
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import duckdb
import psutil
import typer
from sklearn.metrics import roc_auc_score

from benchmarks.figures import peak_gb, print_figures, report_time
from include.days import DayRange
from include.ingest import ingest_days
from include.lake import open_lake
from include.lake.table_names import FEATURES_TABLE
from include.logs import configure_json_logs
from include.monitoring.monitor_day import monitor_day
from include.projects import load_project
from include.retention.retention_list import deployed_bento, score_day
from include.serving.deployment import deploy
from include.serving.deployment.bento_store import load_model
from include.serving.deployment.state import BentoReference, open_state
from include.serving.online_store.update import update_store
from include.serving.prediction_log.collect import collect_predictions
from include.serving.prediction_log.predictions import Predictions, segment_rows
from include.serving.prediction_log.segments import new_segment_name, spool_folder, write_segment
from include.settings import MlflowSettings, ServingSettings, Settings, StoreSettings, TrainingSettings
from include.training.data.build import prepare_dataset
from include.training.data.dataset import dataset_dir, load_dataset
from include.training.data.rows import load_rows, model_contract, sample_customers
from include.training.evaluation.bootstrap import CustomerBootstrap, interval
from include.training.evaluation.measure import resampled_auc
from include.training.fitting.recipe_fitter import RecipeFitter
from include.training.model.bundle import margins
from include.training.recipe import Hyperparameters, Recipe
from include.training.release.publish import decide_promotion
from include.training.train import train_challenger
from simulator import World, generate
from simulator.generate import TRUTH

FIRST = dt.date(2023, 1, 1)
SEED = 20250101
_SEGMENT_ROWS = 10_000
_RESAMPLES = 100

Step = Callable[[Settings], dict[str, Any]]


def simulate(settings: Settings, customers: int, days: DayRange) -> dict[str, Any]:
    """Write the landing files of the days."""
    world = World(customers=customers, first_day=days.first, seed=SEED, pace_days=len(days))
    done = generate(
        settings.home, world, days.last, report=lambda day, events: report_time(f"{day}: {events:,} events")
    )
    return {"events": done.events, "landing_gb": done.bytes / 1e9, "active_customers": done.active_customers}


def ingest(settings: Settings, days: DayRange) -> dict[str, Any]:
    """Ingest days in one run."""
    return {"rows": {step.table: step.rows_written for step in ingest_days(settings, days)}}


def train(settings: Settings, through: dt.date) -> dict[str, Any]:
    """Build the data set, train a challenger, and promote it if it is better than no model."""
    project, folder = load_project(settings.project), dataset_dir(settings, through)
    started = time.perf_counter()
    manifest = prepare_dataset(project, open_lake(settings), through, folder).dataset.manifest
    built = time.perf_counter() - started
    trained = train_challenger(settings, folder)
    decision = decide_promotion(settings, project, trained.model_version)
    fitted = sum(part.rows for part in manifest.parts.values())
    return {
        "training_rows": manifest.labelled_rows or fitted,
        "fitted_rows": fitted,
        "features": len(manifest.features),
        "auc": trained.metrics["auc"],
        "trials": trained.trials,
        "hyperparameters": trained.parameters,
        "promoted": decision.promoted,
        "model_version": trained.model_version,
        "dataset_s": built,
        **{f"{name}_s": seconds for name, seconds in trained.seconds.items() if name != "total"},
    }


def deploy_model(settings: Settings, version: str) -> dict[str, Any]:
    """Build the Bento, start its server, compare its predictions with those of the training, and put it in service."""
    bento = deploy.build(version, settings)
    checked = deploy.smoke(bento, settings)
    state = open_state(settings)
    state.commit(state.begin(BentoReference(**bento)))
    return dict(checked)


def write_list(settings: Settings, day: dt.date) -> dict[str, Any]:
    """Write the retention list of a day."""
    return {"rows": score_day(day, settings).rows_written}


def update_online_store(settings: Settings, day: dt.date) -> dict[str, Any]:
    """Write the features of a day to the online store."""
    return {"rows": update_store(day, settings).newest}


def log_predictions(settings: Settings, day: dt.date) -> dict[str, Any]:
    """Log a prediction for each customer of a day, and collect the predictions into the lake."""
    served, noon = deployed_bento(settings), dt.datetime.combine(day, dt.time(12), dt.UTC)
    bundle = load_model(served, settings)
    rows = open_lake(settings).table(FEATURES_TABLE).read([day])
    for first in range(0, rows.num_rows, _SEGMENT_ROWS):
        part = rows.slice(first, _SEGMENT_ROWS)
        matrix = bundle.contract.encode(part.select(bundle.contract.feature_names))
        group = Predictions(part["customer_id"].to_pylist(), matrix, bundle.predict_matrix(matrix), noon)
        segment = segment_rows(bundle.contract, served.model_version, [group])
        write_segment(spool_folder(settings), new_segment_name(day, settings.project, served.model_version), segment)
    return collect_predictions(settings).as_dict()


def monitor(settings: Settings, day: dt.date) -> dict[str, Any]:
    """Monitor a day."""
    monitor_day(load_project(settings.project), settings, day)
    return {}


def optimal_auc(settings: Settings, through: dt.date) -> dict[str, Any]:
    """Return the AUC of the true churn probabilities on the test rows, the highest that a model can expect."""
    dataset = load_dataset(dataset_dir(settings, through))
    query = f"""
        SELECT test."{dataset.manifest.label}" AS label, truth.probability
        FROM read_parquet(?) test JOIN read_parquet(?, filename = true) truth ON truth.customer_id = test.customer_id
            AND CAST(parse_filename(truth.filename, true) AS DATE) = test.dt
    """  # noqa: S608 - the label of a packaged project
    truth = [str(settings.home / TRUTH / f"{day}.parquet") for day in dataset.manifest.test.days]
    rows = duckdb.execute(query, [str(dataset.folder / dataset.manifest.test.file), truth]).fetchnumpy()
    if len(rows["label"]) != dataset.manifest.test.rows:
        raise ValueError("the simulated world lacks test rows")
    return {"auc": float(roc_auc_score(rows["label"], rows["probability"]))}


def learning_curve(settings: Settings, through: dt.date, hyperparameters: dict[str, Any]) -> dict[str, Any]:
    """Return the loss of AUC on the test rows, with its 95 % interval, of models of fewer customers.

    The models are boosters with the given hyperparameters, fitted on the training rows of all customers, and of a half,
    a quarter and an eighth of them.
    """
    dataset, project = load_dataset(dataset_dir(settings, through)), load_project(settings.project)
    contract = model_contract(project, dataset.manifest)
    train, test = (load_rows(dataset, part, contract) for part in (dataset.manifest.train, dataset.manifest.test))
    fitter = RecipeFitter(project, dataset, contract, settings.training.device, settings.training.workers)
    recipe = Recipe(features=tuple(contract.feature_names), hyperparameters=Hyperparameters(**hyperparameters))
    scores = {}
    for parts in (1, 2, 4, 8):
        rows = sample_customers(train, len(train) // parts, SEED)
        booster = fitter.fit_booster(rows, recipe, None).booster
        scores[len(rows)] = margins(booster, test.matrix)
    bootstrap = CustomerBootstrap(test.customers, _RESAMPLES, SEED)
    resampled = {rows: resampled_auc(bootstrap, test.churned, score) for rows, score in scores.items()}
    most = max(scores)
    lost = {rows: interval(resampled[most] - found) for rows, found in resampled.items() if rows < most}
    return {
        "auc": {rows: round(roc_auc_score(test.churned, score), 5) for rows, score in scores.items()},
        "auc_lost": {rows: [round(found.low, 5), round(found.high, 5)] for rows, found in lost.items()},
    }


def stored_gb(settings: Settings) -> dict[str, float]:
    """Return the size on disk of each folder of the home and of each layer of the lake, in GB."""
    lake = settings.home / "lake" / settings.project
    folders = [*(part for part in settings.home.iterdir() if part.is_dir() and part.name != "lake"), *lake.iterdir()]
    # An LMDB file contains holes, so its size is that of its blocks of 512 bytes.
    blocks = {part.name: sum(file.stat().st_blocks for file in part.rglob("*")) for part in sorted(folders)}
    return {name: round(number * 512 / 1e9, 3) for name, number in blocks.items()}


def _with_peak(step: Step, settings: Settings) -> dict[str, Any]:
    configure_json_logs()
    started = time.perf_counter()
    figures = step(settings)
    return figures | {"seconds": round(time.perf_counter() - started, 1), "peak_gb": peak_gb()}


def _memory_gb() -> float:
    """Return the memory of the children of this process, in which shared pages count once, in GiB."""
    total = 0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total / 2**30


def main(
    customers: Annotated[int, typer.Option(help="Customers over the whole time.")] = 100_000,
    days: Annotated[int, typer.Option(help="Days of history.")] = 730,
    redis_url: Annotated[str, typer.Option(help="Write the online store also to this Redis server.")] = "",
    home: Annotated[Path | None, typer.Option(help="A folder that is kept; a temporary folder by default.")] = None,
) -> None:
    """Run all steps; the last line contains the figures as a JSON object."""
    with tempfile.TemporaryDirectory(prefix="churnflow-fullsize-") as scratch:
        folder = (home or Path(scratch)).resolve()
        mlflow = MlflowSettings(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
        settings = Settings(home=folder, project="subscription", mlflow=mlflow, training=TrainingSettings(workers=2))
        history = DayRange.ending(FIRST + dt.timedelta(days=days - 1), days)
        day = history.last + dt.timedelta(days=1)
        done: dict[str, dict[str, Any]] = {}

        def run(name: str, step: Step, used: Settings = settings) -> dict[str, Any]:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                running, peak = pool.submit(_with_peak, step, used), 0.0
                while not running.done():
                    peak = max(peak, _memory_gb())
                    wait([running], timeout=0.5)
                found = running.result()
                done[name] = found | {"peak_gb": round(max(peak, found["peak_gb"]), 2)}
            report_time(f"{name}: {done[name]}")
            return done[name]

        simulated = run("simulate", partial(simulate, customers=customers, days=DayRange(history.first, day)))
        run("ingest", partial(ingest, days=history))
        trained = run("train", partial(train, through=history.last))
        run("deploy", partial(deploy_model, version=trained["model_version"]))
        run("ingest_day", partial(ingest, days=DayRange.single(day)))
        run("score_day", partial(write_list, day=day))
        run("store_lmdb", partial(update_online_store, day=day))
        if redis_url:
            serving = ServingSettings(store=StoreSettings(backend="redis", url=redis_url))
            in_redis = settings.model_copy(update={"serving": serving})
            run("store_redis", partial(update_online_store, day=day), in_redis)
        run("log_predictions", partial(log_predictions, day=day))
        run("monitor_day", partial(monitor, day=day))
        optimal = run("optimal_auc", partial(optimal_auc, through=history.last))
        parameters = trained["hyperparameters"]
        run("learning_curve", partial(learning_curve, through=history.last, hyperparameters=parameters))
    steps = [name for name in done if name not in {"simulate", "optimal_auc", "learning_curve"}]
    figures = {
        "customers": customers,
        "training_rows": trained["training_rows"],
        "features": trained["features"],
        "ingest_s": done["ingest"]["seconds"],
        "train_s": trained["seconds"],
        "total_s": round(sum(done[name]["seconds"] for name in ("ingest", "train", "deploy")), 1),
        "peak_gb": max(done[name]["peak_gb"] for name in steps),
        "auc": round(trained["auc"], 4),
        "auc_bayes_optimal": round(optimal["auc"], 4),
    }
    details = {
        "days": days,
        "events": simulated["events"],
        "fitted_rows": trained["fitted_rows"],
        "stored_gb": stored_gb(settings),
        "steps": done,
    }
    print_figures("fullsize", figures, details)


if __name__ == "__main__":
    typer.run(main)
