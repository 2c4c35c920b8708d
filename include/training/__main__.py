"""``python -m include.training``: build a data set, train on it, promote a model.

Every command ends with one JSON object on the last line of its standard output. Trainings run this same command,
whether as a process or in a pod. What needs MLflow is imported by the commands that log to it: it takes seconds, and
each worker of a search is a process of its own.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from include.command_line import CommandLine
from include.days import parse_day
from include.lake import open_lake
from include.logs import configure_json_logs
from include.projects import load_project
from include.settings import get_settings
from include.training.data.dataset import dataset_dir
from include.training.data.prepare import prepare_dataset
from include.training.handover import clear_result, write_result
from include.training.tuning.tune import tune_as_worker

app = CommandLine()

DatasetFolder = Annotated[Path, typer.Option(help="The folder of a data set.", exists=True, file_okay=False)]


@app.command()
def dataset(day: Annotated[str, typer.Option(help="Labels known when this day (YYYY-MM-DD) closes are used.")]) -> None:
    """Build the training data set for a day, and check what the project requires of it."""
    settings, through = get_settings(), parse_day(day)
    project = load_project(settings.project)
    _print(prepare_dataset(project, open_lake(settings), through, dataset_dir(settings, through)).as_dict())


@app.command()
def tune(
    dataset: DatasetFolder,
    worker: Annotated[int, typer.Option(help="Which of the CHURN_TRAINING__WORKERS workers this is, from 0.")],
) -> None:
    """Run trials of the search of hyperparameters as one of several workers, until all are finished."""
    settings = get_settings()
    _print(tune_as_worker(settings, dataset, worker).as_dict())


@app.command()
def run(
    dataset: DatasetFolder,
    result: Annotated[Path, typer.Option(help="The file that the result is written to, too.")],
) -> None:
    """Run the trials that no worker has run, fit, judge, log and register a challenger."""
    from include.training.train import train_challenger

    settings = get_settings()
    clear_result(result)
    trained = train_challenger(settings, dataset).as_dict()
    write_result(result, trained)
    _print(trained)


@app.command()
def promote(
    dataset: DatasetFolder, version: Annotated[str, typer.Option(help="The challenger's version in the registry.")]
) -> None:
    """Compare a challenger with the champion on the data set's test rows, and promote it if it is better."""
    from include.training.release.promote import promote as promote_version

    settings = get_settings()
    _print(promote_version(settings, dataset, version).as_dict())


@app.command(name="all")
def train_and_decide(
    day: Annotated[str, typer.Option(help="Labels known when this day (YYYY-MM-DD) closes are used.")],
) -> None:
    """Build the data set, train on it and decide on the promotion, one after the other, for a first model.

    The DAG keeps a version of the raw data as well; this does not.
    """
    from include.training.release.promote import promote as promote_version
    from include.training.summary import render_decision, render_training
    from include.training.train import train_challenger

    settings, through = get_settings(), parse_day(day)
    project = load_project(settings.project)
    dataset = prepare_dataset(project, open_lake(settings), through, dataset_dir(settings, through)).dataset
    trained = train_challenger(settings, dataset.folder)
    typer.echo(render_training(dataset.manifest, trained))
    decided = promote_version(settings, dataset.folder, trained.model_version)
    typer.echo(render_decision(decided))
    _print(decided.as_dict())


def _print(answer: dict[str, Any]) -> None:
    typer.echo(json.dumps(answer))


if __name__ == "__main__":
    configure_json_logs()
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    app()
