"""Comparison of two deployments: tables, registered models, predictions of the deployed model, and databases."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import mlflow

from include.backup.databases import databases
from include.backup.errors import BackupError
from include.lake import Lake, Table, connect, open_lake
from include.lake.table_names import FEATURES_TABLE
from include.serving.deployment.bento_store import find_bento
from include.serving.deployment.state import open_state
from include.settings import Settings
from include.training.release.registry import limit_requests

Content = dict[str, Any]


def describe(settings: Settings, versions: Mapping[str, int] | None = None) -> Content:
    """Return what two equal deployments have in common, by name.

    A table is described by its version, its number of rows and a checksum of its rows; the registry by the run, the
    tags and the aliases of each version; the deployed model by a checksum of its probabilities for all customers of the
    newest day in gold.

    Args:
        settings: The deployment.
        versions: The version at which each table is read; the current versions by default.

    Raises:
        BackupError: No model is deployed, or gold is empty.
        BundleError: The deployed model is damaged.
    """
    lake = open_lake(settings)
    names = sorted(versions or lake.table_names())
    lake = lake.at(versions or {name: lake.table(name).version() for name in names})
    content: Content = {f"table {name}": _rows(lake.table(name)) for name in names}
    return content | {"registry": _registry(settings), "predictions": _predictions(settings, lake)}


def describe_databases(settings: Settings) -> Content:
    """Return the number of rows and a checksum of each table of the databases, by name.

    Args:
        settings: The deployment.
    """
    return {
        f"database {database.name}.{table}": content
        for database in databases(settings)
        for table, content in database.tables().items()
    }


def differences(one: Content, other: Content) -> list[str]:
    """Return the names of the parts that are not equal."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def _rows(table: Table) -> tuple[int, int, str]:
    days = table.days()
    if not days:
        return table.version(), 0, ""
    engine = connect()
    query = engine.compile(table.scan(engine, days))
    rows, checksum = engine.con.sql(
        f"SELECT count(*), sum(hash(part)::HUGEINT)::VARCHAR FROM ({query}) AS part"  # noqa: S608 - compiled by Ibis
    ).fetchall()[0]
    return table.version(), int(rows), str(checksum)


def _registry(settings: Settings) -> dict[str, Any]:
    limit_requests(settings)
    # From the database where there is one: during a drill, no MLflow server serves that of the copy.
    uri = settings.backup.mlflow_database.get_secret_value() or settings.mlflow.tracking_uri
    name = f"churn-{settings.project}"
    client = mlflow.MlflowClient(uri, uri)
    models = client.search_registered_models(filter_string=f"name = '{name}'")
    versions = client.search_model_versions(f"name = '{name}'")
    return {
        "aliases": {alias: version for model in models for alias, version in sorted(model.aliases.items())},
        "versions": {version.version: (version.run_id, dict(version.tags)) for version in versions},
    }


def _predictions(settings: Settings, lake: Lake) -> tuple[str, int, str]:
    served, features = open_state(settings).served(), lake.table(FEATURES_TABLE)
    day = max(features.days(), default=None)
    if served is None or day is None:
        raise BackupError(
            "No model is deployed, or gold is empty, so no predictions can be compared.",
            where=str(settings.serving_dir),
            remedy="Run churn_ingest, churn_train and churn_deploy first.",
        )
    # The state contains the path of the Bento in the original deployment.
    bento = find_bento(served.model_version, settings.serving_dir)
    if bento is None:
        raise BackupError(
            f"The Bento of version {served.model_version} is missing.",
            where=str(settings.serving_dir),
            remedy="Deploy the version again with churn_deploy.",
        )
    model, rows = bento.load_bundle(), features.read([day]).sort_by("customer_id")
    probabilities = model.predict_matrix(model.contract.encode(rows.select(model.contract.feature_names)))
    return served.model_version, len(probabilities), hashlib.sha256(probabilities.tobytes()).hexdigest()
