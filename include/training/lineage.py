"""The lineage of a training: the data set that it reads, and the registered model that it writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from include.lineage import MODEL, TRAINING_DATASET, record_read, record_write
from include.settings import Settings
from include.training.commands import read_result
from include.training.data.dataset import DatasetRef, load_dataset
from include.training.model.contract import ModelContract


def record_dataset_written(dataset: DatasetRef, columns: Any) -> None:
    """Record that a data set is written; its version is the checksum of its rows.

    Args:
        dataset: The data set.
        columns: Its Arrow schema.
    """
    record_write(TRAINING_DATASET, str(dataset.folder), dataset.manifest.fingerprint[:16], columns)


def record_model_read(settings: Settings, version: str, contract: ModelContract) -> None:
    """Record that a registered model is read; its columns are its features.

    Args:
        settings: The registry and the project.
        version: The version of the model.
        contract: The contract of the model.
    """
    record_read(MODEL, model_uri(settings), version, {item.name: item.dtype for item in contract.features})


def collect_result(settings: Settings, path: Path) -> dict[str, Any]:
    """Return the result of a training, and record its data set and its model.

    The training is a process or a pod of its own, in which nothing is recorded.

    Args:
        settings: The registry and the project.
        path: The file of the result, in the folder of the data set.

    Raises:
        MissingResultError: The file is missing or is not JSON.
        DatasetError: The data set is damaged.
    """
    result, manifest = read_result(path), load_dataset(path.parent).manifest
    columns = dict.fromkeys(manifest.train.columns, "")
    record_read(TRAINING_DATASET, str(path.parent), manifest.fingerprint[:16], columns)
    record_write(MODEL, model_uri(settings), result["model_version"], dict.fromkeys(manifest.features, ""))
    return result


def model_uri(settings: Settings) -> str:
    """Return the address of the project's model in the registry."""
    return f"{settings.mlflow.tracking_uri}/models/churn-{settings.project}"
