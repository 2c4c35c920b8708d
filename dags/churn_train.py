"""Gold to a registered model, and the decision whether it becomes the champion."""

from __future__ import annotations

from typing import Any

from airflow.sdk import PartitionedAssetTimetable, dag, get_current_context, task

from dags.wiring.assets import CHAMPION, TRAINING_REQUEST, announce
from dags.wiring.day import day_param, resolve_day
from dags.wiring.defaults import common
from dags.wiring.training_task import RESULT, training_task, tuning_task
from include.settings import get_settings

DOC = """
### Gold to a champion

Builds the training set of all snapshots whose labels are known by the day, split by time with a gap of one horizon (or,
where there is no time, by customer); checks what the project requires of it; keeps the raw data behind it as a DVC
version; tunes with several workers side by side; fits and judges a model with the best trial's hyperparameters;
registers it as **challenger**; and promotes it to **champion** when it saves more money than the champion, or, for the
first, than the best simple rule.

Workers and the final fit are processes here and pods on Kubernetes (`CHURN_TRAINING__BACKEND`). A worker that fails for
good stops nothing: the final fit runs the trials that are missing.

Runs when a training is requested: by the ingest when one is due, by the monitor on drift, or by hand with a day.
"""


@dag(
    dag_id="churn_train",
    dag_display_name="2 · Train",
    description="Train a challenger on gold and decide whether it becomes the champion.",
    doc_md=DOC,
    schedule=PartitionedAssetTimetable(assets=TRAINING_REQUEST),
    params={"day": day_param("Day", "Train on the labels known when this day closes.")},
    **common("model"),
)
def churn_train() -> None:
    @task
    def build_dataset() -> dict[str, Any]:
        """Write train and test rows, split by time or by customer, and check what the project requires of them."""
        from include.lake import open_lake
        from include.projects import load_project
        from include.training.data.build import prepare_dataset
        from include.training.data.dataset import dataset_dir

        settings, day = get_settings(), resolve_day(get_current_context())
        project = load_project(settings.project)
        return prepare_dataset(project, open_lake(settings), day, dataset_dir(settings, day)).as_dict()

    @task
    def version_data(folder: str) -> str:
        """Keep the raw data behind the data set as a version in the remote, and return its revision."""
        from pathlib import Path

        from include.lake import open_lake
        from include.projects import load_project
        from include.versions.repository import open_repository
        from include.versions.snapshot import version_dataset

        settings = get_settings()
        project, repository = load_project(settings.project), open_repository(settings)
        return version_dataset(project, open_lake(settings), repository, Path(folder)).revision

    @task
    def read_result(folder: str) -> dict[str, Any]:
        """Read what the training handed over through storage; a missing result is a failure."""
        from pathlib import Path

        from include.training.commands import read_result

        return read_result(Path(folder) / RESULT)

    @task
    def decide_promotion(folder: str, trained: dict[str, Any]) -> dict[str, Any]:
        """Judge challenger and champion anew on the same rows, and move the aliases."""
        from pathlib import Path

        from include.training.release.promotion import promote

        return promote(get_settings(), Path(folder), trained["model_version"]).as_dict()

    @task(outlets=[CHAMPION])
    def announce_champion(decision: dict[str, Any]) -> str:
        """Tell the deployment that there is a new champion; otherwise skip."""
        from airflow.sdk.exceptions import AirflowSkipException

        if not decision["promoted"]:
            raise AirflowSkipException(decision["reason"])
        context = get_current_context()
        announce(context, CHAMPION, resolve_day(context), model_version=decision["champion_version"])
        return str(decision["champion_version"])

    dataset = build_dataset()
    versioned = version_data(dataset["folder"])
    name = "{{ ti.xcom_pull(task_ids='build_dataset')['name'] }}"
    tune = tuning_task(get_settings(), dataset=name)
    # It waits for the workers, and runs even if all of them failed. Without a data set it does not run: then the
    # versioning, on which it depends directly, has not succeeded, either.
    train = training_task(get_settings(), dataset=name, trigger_rule="all_done_min_one_success")
    trained = read_result(dataset["folder"])
    versioned >> tune >> train >> trained
    versioned >> train
    announce_champion(decide_promotion(dataset["folder"], trained))


churn_train()
