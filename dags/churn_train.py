"""Train a challenger on gold, and promote it to champion if it is better."""

from __future__ import annotations

from typing import Any

from airflow.sdk import PartitionedAssetTimetable, dag, get_current_context, task

from dags.wiring.approval import PromotionApproval, approval_hours
from dags.wiring.assets import CHAMPION, TRAINING_REQUEST, emit_asset_event, request_reason
from dags.wiring.day import day_param, resolve_day
from dags.wiring.defaults import common
from dags.wiring.training_task import RESULT, training_task, tuning_task
from include.settings import get_settings

DOC = """
### Train a challenger

1. Builds the data set from all snapshots with horizons that have passed at the end of the day, split by time with a gap
   of one horizon (data without time: by customer), and checks the project's data requirements.
2. Stores the raw data as a DVC version.
3. Tunes with parallel workers, and compares the best recipe with the champion's on rows that neither model was fitted
   on. If it does not save more money, the champion's recipe is kept.
4. Fits the chosen recipe on all matured snapshots, and registers the model as **challenger**. It becomes the
   **champion** if the new recipe saves more money, or if the refit of the champion's recipe is not worse. A first model
   must save more than the best baseline.

Workers and the final fit are local processes or Kubernetes pods (`CHURN_TRAINING__BACKEND`). A failed worker does not
stop the training: the task `train` runs the missing trials.

With `promotion.approval: required` in `training.yaml`, `approve_promotion` waits until a person approves or rejects the
model in its tab *Required Action*. Without a response in time, and after a rejection, the champion stays. Other
requested trainings wait during this time.

If you mark `announce_champion` successful by hand, no event is emitted, so the champion is not deployed; trigger
`churn_deploy` then.

Runs for each training request, or manually with a day. The ingest requests a training if one is due; the monitor
requests a training after decay, or after drift that changes the expected saving. The model card states the reason.
"""


@dag(
    dag_id="churn_train",
    dag_display_name="2 · Train",
    description="Train a challenger on gold, and promote it to champion if it is better.",
    doc_md=DOC,
    schedule=PartitionedAssetTimetable(assets=TRAINING_REQUEST),
    params={"day": day_param("Day", "Use the labels known when this day ends.")},
    **common("model"),
)
def churn_train() -> None:
    @task
    def build_dataset() -> dict[str, Any]:
        """Write the training and test rows, and check the project's data requirements."""
        from include.lake import open_lake
        from include.projects import load_project
        from include.training.data.build import prepare_dataset
        from include.training.data.dataset import dataset_dir
        from include.training.release.champion import champion_recipe

        settings, context = get_settings(), get_current_context()
        project, day = load_project(settings.project), resolve_day(context)
        lake, folder, champion = open_lake(settings), dataset_dir(settings, day), champion_recipe(settings)
        return prepare_dataset(project, lake, day, folder, champion, request_reason(context)).as_dict()

    @task
    def version_data(folder: str) -> str:
        """Store the raw data of the data set as a DVC version in the remote, and return its revision."""
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
        """Read the training's result file; fail if it is missing."""
        from pathlib import Path

        from include.training.lineage import collect_result

        return collect_result(get_settings(), Path(folder) / RESULT)

    @task
    def decide_promotion(trained: dict[str, Any], approval: dict[str, Any] | None) -> dict[str, Any]:
        """Set the aliases if the comparison with the champion and the approval allow it, and publish the model card."""
        from include.projects import load_project
        from include.training.release.promotion import Approval
        from include.training.release.publish import decide_promotion

        settings, version = get_settings(), trained["model_version"]
        project, decided = load_project(settings.project), Approval(**approval) if approval else None
        return decide_promotion(settings, project, version, decided).as_dict()

    @task(outlets=[CHAMPION])
    def announce_champion(decision: dict[str, Any]) -> str:
        """Trigger the deployment of a new champion; skip if the challenger was not promoted."""
        from airflow.sdk.exceptions import AirflowSkipException

        if not decision["promoted"]:
            raise AirflowSkipException(decision["reason"])
        context = get_current_context()
        emit_asset_event(context, CHAMPION, resolve_day(context), model_version=decision["champion_version"])
        return str(decision["champion_version"])

    dataset = build_dataset()
    versioned = version_data(dataset["folder"])
    name = "{{ ti.xcom_pull(task_ids='build_dataset')['name'] }}"
    tune = tuning_task(get_settings(), dataset=name)
    # The training runs after all workers, even if all of them failed. Without a data set it does not run, since its
    # other upstream task, version_data, has not succeeded.
    train = training_task(get_settings(), dataset=name, trigger_rule="all_done_min_one_success")
    trained = read_result(dataset["folder"])
    versioned >> tune >> train >> trained
    versioned >> train
    hours, version = approval_hours(), "{{ ti.xcom_pull(task_ids='read_result')['model_version'] }}"
    approval = PromotionApproval(task_id="approve_promotion", hours=hours, version=version) if hours else None
    if approval:
        trained >> approval
    announce_champion(decide_promotion(trained, approval.output if approval else None))


churn_train()
