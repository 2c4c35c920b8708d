"""``python -m include.training``: build a data set, train on it, promote a model.

Every command prints one JSON object on the last line of its standard output. Training processes and pods run these
commands. MLflow takes seconds to import, and each tuning worker is a separate process. Therefore only the commands that
use MLflow import it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from include.command_line import EXIT_NO_RETRY, CommandLine
from include.days import parse_day
from include.lake import open_lake
from include.logs import configure_json_logs
from include.plurals import counted
from include.projects import load_project
from include.settings import get_settings
from include.training.commands import clear_result, write_result
from include.training.data.build import prepare_dataset
from include.training.data.dataset import DatasetManifest, DatasetPart, dataset_dir
from include.training.tuning.tune import tune_as_worker

if TYPE_CHECKING:
    from include.training.release.promotion import PromotionResult
    from include.training.train import TrainingResult

app = CommandLine(no_retry_code=EXIT_NO_RETRY)

DatasetFolder = Annotated[Path, typer.Option(help="The folder of a data set.", exists=True, file_okay=False)]
ApprovedBy = Annotated[
    str | None, typer.Option(help="Your name, as an approval; needed with promotion.approval: required.")
]
_METRICS = {
    "auc": "AUC",
    "pr_auc": "PR-AUC",
    "brier": "Brier score",
    "ece": "calibration error",
    "precision": "precision at 0.5",
    "recall": "recall at 0.5",
    "f1": "F1 at 0.5",
    "accuracy": "accuracy at 0.5",
    "precision_at_threshold": "precision of offers",
    "recall_at_threshold": "recall of offers",
    "offers_per_1000_at_threshold": "offers per 1,000",
    "saving_usd_per_1000_at_threshold": "saved, $ per 1,000",
    "saving_usd_per_1000_everybody": "if all get an offer",
}


@app.command()
def dataset(day: Annotated[str, typer.Option(help="Use the labels known when this day (YYYY-MM-DD) ends.")]) -> None:
    """Build the training data set for a day, and check the project's data requirements."""
    from include.training.release.champion import champion_recipe

    settings, through = get_settings(), parse_day(day)
    project, folder = load_project(settings.project), dataset_dir(settings, through)
    _print(prepare_dataset(project, open_lake(settings), through, folder, champion_recipe(settings)).as_dict())


@app.command()
def tune(
    dataset: DatasetFolder,
    worker: Annotated[int, typer.Option(help="The number of this worker, from 0 to CHURN_TRAINING__WORKERS - 1.")],
) -> None:
    """Run trials of the hyperparameter search as one of several workers, until all trials are finished."""
    settings = get_settings()
    _print(tune_as_worker(settings, dataset, worker).as_dict())


@app.command()
def run(
    dataset: DatasetFolder,
    result: Annotated[Path, typer.Option(help="The file to write the result to, in addition to standard output.")],
) -> None:
    """Run the missing trials, fit, evaluate, log and register a challenger."""
    from include.training.train import train_challenger

    settings = get_settings()
    clear_result(result)
    trained = train_challenger(settings, dataset).as_dict()
    write_result(result, trained)
    _print(trained)


@app.command()
def promote(
    version: Annotated[str, typer.Option(help="The challenger's version in the registry.")],
    approved_by: ApprovedBy = None,
) -> None:
    """Promote a challenger if the comparison that its training recorded allows it."""
    _print(_promote(version, approved_by).as_dict())


@app.command(name="all")
def train_and_promote(
    day: Annotated[str, typer.Option(help="Use the labels known when this day (YYYY-MM-DD) ends.")],
    approved_by: ApprovedBy = None,
) -> None:
    """Build the data set, train on it and decide on the promotion, for a first model.

    Unlike the DAG, this command stores no version of the raw data.
    """
    from include.training.release.champion import champion_recipe
    from include.training.train import train_challenger

    settings, through = get_settings(), parse_day(day)
    project, folder = load_project(settings.project), dataset_dir(settings, through)
    dataset = prepare_dataset(project, open_lake(settings), through, folder, champion_recipe(settings)).dataset
    trained = train_challenger(settings, dataset.folder)
    typer.echo(render_training(dataset.manifest, trained))
    promotion = _promote(trained.model_version, approved_by)
    typer.echo(_line("champion" if promotion.promoted else "not promoted", promotion.reason))
    _print(promotion.as_dict())


def _promote(version: str, approved_by: str | None) -> PromotionResult:
    from include.training.release.promotion import Approval
    from include.training.release.publish import decide_promotion

    settings, approval = get_settings(), Approval(True, approved_by) if approved_by else None
    return decide_promotion(settings, load_project(settings.project), version, approval)


def render_training(manifest: DatasetManifest, trained: TrainingResult) -> str:
    """Return a summary of a training, for a terminal.

    Args:
        manifest: The data set.
        trained: The result of the training.
    """
    by = "by time" if manifest.split == "time" else "by customer: this data has no time"
    seconds = f"{trained.seconds['total']:.0f} s"
    lines = [
        ("training", _rows(manifest.train)),
        *([("gap", _rows(manifest.gap))] if manifest.gap.days else []),
        ("test", f"{_rows(manifest.test)}; split {by}"),
        (
            "model",
            f"{trained.model_name} version {trained.model_version}, {counted(trained.trials, 'trial')}, {seconds}",
        ),
        ("trained through", f"{trained.trained_through}; evaluated with a model through {trained.evaluated_through}"),
        *((title, _with_interval(trained.metrics, name)) for name, title in _METRICS.items()),
        *(
            ("missed", f"{verdict['name']}: {verdict['found']:.4g}, {verdict['bound']} {verdict['required']:g}")
            for verdict in trained.verdicts
            if not verdict["ok"]
        ),
        *(("leakage", finding) for finding in trained.leakage),
        ("history", trained.history),
        ("calibrator", trained.calibration),
        *([("warning", trained.calibration_warning)] if trained.calibration_warning else []),
    ]
    return "\n".join(_line(title, text) for title, text in lines)


def _line(title: str, text: str) -> str:
    return f"{title:20} {text}"


def _rows(part: DatasetPart) -> str:
    return f"{counted(part.rows, 'row')}, {part.positive_ratio:.1%} churned"


def _with_interval(metrics: dict[str, float], name: str) -> str:
    value = _number(metrics[name])
    if f"{name}_low" not in metrics:
        return value
    return f"{value:9} 95 %: {_number(metrics[f'{name}_low'])} to {_number(metrics[f'{name}_high'])}"


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) <= 1 else f"{value:,.0f}"


def _print(result: dict[str, Any]) -> None:
    typer.echo(json.dumps(result))


if __name__ == "__main__":
    configure_json_logs()
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    app()
