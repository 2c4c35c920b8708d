"""What is kept of a training: its MLflow run, and the registered version with its bundle and model card."""

from __future__ import annotations

import mlflow

from include.settings import Settings
from include.training.candidate import Candidate
from include.training.card.model_card import ModelCard, make_model_card
from include.training.data.configuration import PROJECT_FILE
from include.training.data.data_version import POINTER_FILE
from include.training.data.dataset import MANIFEST_FILE, DatasetManifest, DatasetRef
from include.training.evaluation.leakage import LEAKAGE_FILE
from include.training.release.logged_model import log_model
from include.training.release.registry import Registry
from include.training.requirements import REQUIREMENTS_FILE, Verdict, verdicts_document

DATASET_ARTIFACT = "dataset"
CARD_PAGE = "model_card.html"


def open_experiment(settings: Settings, name: str) -> None:
    """Make ``name`` the experiment that runs belong to, and create it where it does not exist."""
    uri = settings.mlflow.tracking_uri
    mlflow.set_tracking_uri(uri)
    if uri.startswith("sqlite:") and mlflow.get_experiment_by_name(name) is None:
        # Without a server, MLflow would keep the artifacts below whatever folder the command was started in.
        mlflow.create_experiment(name, artifact_location=(settings.home / "mlflow" / name).as_uri())
    mlflow.set_experiment(name)


def log_run(candidate: Candidate, verdicts: list[Verdict], run_id: str) -> str:
    """Log everything about a training to the active run, ``run_id``, and return the address of the model logged."""
    project, manifest, tuned = candidate.project, candidate.dataset.manifest, candidate.tuned
    training = project.training
    mlflow.log_params(
        tuned.chosen.model_dump()
        | {
            "max_bin": training.max_bin,
            "seed": training.seed,
            "trials": tuned.trials,
            "cv_folds": training.cv_folds,
            "metric": tuned.metric,
        }
        | {"features": len(manifest.features), "train_rows": manifest.train.rows, "test_rows": manifest.test.rows}
        | {"device": candidate.device, "threshold": candidate.contract.threshold}
        | {f"calibrator_{name}": value for name, value in candidate.calibrator}
    )
    mlflow.log_metrics(
        candidate.evaluation.metrics()
        | tuned.figures()
        | {f"seconds_{name}": value for name, value in candidate.seconds.items()}
    )
    mlflow.log_dict(tuned.as_dict(), "tuning.json")
    log_dataset(candidate.dataset)
    mlflow.log_dict(verdicts_document(verdicts), REQUIREMENTS_FILE)
    mlflow.log_dict(candidate.leakage.model_dump(mode="json"), LEAKAGE_FILE)
    return log_model(candidate.bundle(run_id))


def log_dataset(dataset: DatasetRef) -> None:
    """Log to the active run what a data set was made from: enough to make it again."""
    manifest = dataset.manifest
    mlflow.set_tags({"project": manifest.project, "through": str(manifest.through)} | _data_tags(manifest))
    mlflow.set_tags({f"table.{table}": version for table, version in manifest.all_tables.items()})
    for file in (MANIFEST_FILE, PROJECT_FILE):
        mlflow.log_artifact(str(dataset.folder / file), DATASET_ARTIFACT)
    if manifest.data_version:
        mlflow.log_text(manifest.data_version.pointer, f"{DATASET_ARTIFACT}/{POINTER_FILE}")


def _data_tags(manifest: DatasetManifest) -> dict[str, str]:
    version = manifest.data_version
    named = {"dvc.revision": version.revision, "dvc.remote": version.remote} if version else {}
    return {"fingerprint": manifest.fingerprint, "configuration": manifest.configuration_sha256} | named


def register(candidate: Candidate, verdicts: list[Verdict], registry: Registry, source: str, run_id: str) -> str:
    """Make a logged model the challenger, and return its version.

    The alias is set last, so that it never names a version without its model card.

    Args:
        candidate: The model.
        verdicts: What its requirements say, for the card.
        registry: Where it is registered.
        source: The address of the model logged.
        run_id: The active run.
    """
    version = registry.register(source, run_id, tags=_data_tags(candidate.dataset.manifest))
    card = make_model_card(candidate, candidate.bundle(run_id), version, verdicts)
    _log_card(card)
    registry.describe(version, card.summary, tags={"model_card": f"runs:/{run_id}/{CARD_PAGE}"})
    registry.set_alias("challenger", version)
    return version


def _log_card(card: ModelCard) -> None:
    mlflow.log_text(card.html, CARD_PAGE)
    mlflow.log_text(card.markdown, "model_card.md")
    for path, svg in card.plots.items():
        mlflow.log_text(svg, path)
