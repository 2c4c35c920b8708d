"""Log a training to MLflow, and register its model with bundle and model card."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pydantic
import scipy
import xgboost as xgb
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

from include.provenance.signature import sign
from include.provenance.statement import PROVENANCE_FILE, Provenance, checksums_of
from include.settings import ROOT, Settings
from include.training.candidate import Candidate
from include.training.card.model_card import ModelCard, make_model_card
from include.training.data.dataset import MANIFEST_FILE, POINTER_FILE, PROJECT_FILE, DatasetManifest, DatasetRef
from include.training.evaluation.leakage import LEAKAGE_FILE
from include.training.evaluation.requirements import REQUIREMENTS_FILE, Verdict, verdicts_document
from include.training.model import pyfunc
from include.training.model.bundle import Bundle
from include.training.model.contract import ModelContract
from include.training.model.source_files import source_files
from include.training.release.registry import Registry, limit_requests

DATASET_ARTIFACT = "dataset"
CARD_PAGE = "model_card.html"
RECIPE_FILE = "recipe.json"
COMPARISON_FILE = "comparison.json"
_PACKAGES = (np, pd, pydantic, scipy, xgb)
_TYPES = {"number": "double", "category": "string"}


def open_experiment(settings: Settings, name: str) -> None:
    """Select the MLflow experiment of the following runs, and create it if it does not exist.

    Args:
        settings: The tracking server.
        name: The experiment.
    """
    limit_requests(settings)
    uri = settings.mlflow.tracking_uri
    mlflow.set_tracking_uri(uri)
    if uri.startswith("sqlite:") and mlflow.get_experiment_by_name(name) is None:
        # Without a server, MLflow would store the artifacts below the working directory.
        mlflow.create_experiment(name, artifact_location=(settings.home / "mlflow" / name).as_uri())
    mlflow.set_experiment(name)


def log_run(candidate: Candidate, verdicts: list[Verdict], run_id: str) -> str:
    """Log a training to the active run, and return the URI of the logged model.

    Args:
        candidate: The model.
        verdicts: The verdicts on the project's requirements.
        run_id: The active run.
    """
    project, manifest, tuned = candidate.project, candidate.dataset.manifest, candidate.tuned
    training = project.training
    mlflow.log_params(
        candidate.recipe.hyperparameters.model_dump()
        | {
            "max_bin": training.max_bin,
            "seed": training.seed,
            "trials": tuned.trials,
            "cv_folds": training.cv_folds,
            "metric": tuned.metric,
        }
        | {"features": len(candidate.recipe.features)}
        | {f"{name}_rows": part.rows for name, part in manifest.parts.items()}
        | {"device": candidate.model.device, "threshold": candidate.contract.threshold}
        | {"calibrator": candidate.model.calibration.chosen.name, "history": candidate.model.history.name}
    )
    mlflow.log_metrics(
        candidate.evaluation.metrics()
        | tuned.figures()
        | {f"seconds_{name}": value for name, value in candidate.seconds.items()}
    )
    mlflow.log_dict(tuned.as_dict(), "tuning.json")
    recipe = {"recipe": candidate.recipe.model_dump(), "trained_through": str(candidate.contract.trained_through)}
    mlflow.log_dict(recipe, RECIPE_FILE)
    mlflow.log_dict(candidate.comparison.as_dict(), COMPARISON_FILE)
    mlflow.log_dict(candidate.model.calibration.as_dict(), "calibration.json")
    log_dataset(candidate.dataset)
    mlflow.log_dict(verdicts_document(verdicts), REQUIREMENTS_FILE)
    mlflow.log_dict(candidate.leakage.model_dump(mode="json"), LEAKAGE_FILE)
    return log_model(candidate.bundle(run_id))


def log_dataset(dataset: DatasetRef) -> None:
    """Log a data set's manifest, configuration and sources to the active run, so that it can be built again."""
    manifest = dataset.manifest
    mlflow.set_tags({"project": manifest.project, "through": str(manifest.through)} | _data_tags(manifest))
    mlflow.set_tags({f"table.{table}": version for table, version in manifest.all_tables.items()})
    for file in (MANIFEST_FILE, PROJECT_FILE):
        mlflow.log_artifact(str(dataset.folder / file), DATASET_ARTIFACT)
    if manifest.data_version:
        mlflow.log_text(manifest.data_version.pointer, f"{DATASET_ARTIFACT}/{POINTER_FILE}")


def log_model(bundle: Bundle) -> str:
    """Log the model to the active run, and return its URI.

    The logged model is the bundle and the source files that read it; no file is pickled. ``mlflow.pyfunc.load_model``
    loads it on any machine with the packages that it lists, and ``Registry.bundle`` returns the bundle.
    """
    with tempfile.TemporaryDirectory(prefix="churn-model-") as name, warnings.catch_warnings():
        # With an input example, MLflow would load the model in this process and add its code to sys.path.
        warnings.filterwarnings("ignore", message=".*input example was not provided")
        stage = Path(name)
        bundle.save(stage / "bundle")
        for source in source_files(pyfunc.__name__):
            copy = stage / source.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
        logged = mlflow.pyfunc.log_model(
            name="model",
            loader_module=pyfunc.__name__,
            data_path=str(stage / "bundle"),
            code_paths=[str(stage / "include")],
            signature=_signature(bundle.contract),
            # Explicit, because MLflow would otherwise load the model in another process to infer them.
            pip_requirements=[f"{package.__name__}=={package.__version__}" for package in _PACKAGES],
        )
    return str(logged.model_uri)


def register(candidate: Candidate, verdicts: list[Verdict], settings: Settings, source: str, run_id: str) -> str:
    """Register a logged model as the challenger, and return its version.

    The alias is set last, so that it never names a version without its model card and its provenance.

    Args:
        candidate: The model.
        verdicts: The verdicts on the project's requirements, for the card.
        settings: The project's registry, and the key that signs the provenance.
        source: The URI of the logged model.
        run_id: The active run.
    """
    registry = Registry(settings)
    evaluated = candidate.evaluated_through
    days = {"trained_through": str(candidate.contract.trained_through), "evaluated_through": str(evaluated)}
    tags = _data_tags(candidate.dataset.manifest) | days | {"history": candidate.model.history.name}
    version = registry.register(source, run_id, tags=tags)
    card = make_model_card(candidate, candidate.bundle(run_id), version, verdicts)
    _log_card(card)
    registry.describe(version, card.summary, tags={"model_card": f"runs:/{run_id}/{CARD_PAGE}"})
    provenance = Provenance(settings.project, run_id, version)
    if candidate.dataset.manifest.data_version:
        provenance = provenance.with_link("data", {"revision": candidate.dataset.manifest.data_version.revision})
    with tempfile.TemporaryDirectory(prefix="churn-run-") as name:
        run, bundle = Path(name) / "run", Path(name) / "bundle"
        run.mkdir()
        bundle.mkdir()
        provenance = provenance.with_link("run", checksums_of(registry.download_run(run_id, run)))
        provenance = provenance.with_link("bundle", checksums_of(registry.download_bundle(version, bundle)))
    mlflow.log_text(sign(provenance.as_statement(), settings.provenance.signing_key), PROVENANCE_FILE)
    registry.set_alias("challenger", version)
    return version


def _data_tags(manifest: DatasetManifest) -> dict[str, str]:
    version = manifest.data_version
    named = {"dvc.revision": version.revision, "dvc.remote": version.remote} if version else {}
    return {
        "fingerprint": manifest.fingerprint,
        "configuration": manifest.configuration_sha256,
        "request_reason": manifest.request_reason,
    } | named


def _signature(contract: ModelContract) -> ModelSignature:
    """Return the contract's columns with the types of the gold table; doubles and strings may be null."""
    return ModelSignature(
        inputs=Schema([ColSpec(_TYPES[feature.dtype], feature.name) for feature in contract.features]),
        outputs=Schema([ColSpec("float", pyfunc.PROBABILITY)]),
    )


def _log_card(card: ModelCard) -> None:
    mlflow.log_text(card.html, CARD_PAGE)
    mlflow.log_text(card.markdown, "model_card.md")
    for path, svg in card.plots.items():
        mlflow.log_text(svg, path)
