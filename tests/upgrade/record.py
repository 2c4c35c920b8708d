"""Record the home of a small deployment as JSON: ``python tests/upgrade/record.py HOME PROJECT FILE``.

The script imports nothing of the product, so it runs with the environment of any release. ``stored.py`` writes the home
again. History of tables, reports, landing files and versions of raw data are left out.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import lmdb
import mlflow
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xgboost as xgb
from deltalake import DeltaTable

HOME = "{home}"
"""Stands for the path of the home."""


def record(home: Path, project: str) -> dict[str, Any]:
    """Return the content of a home.

    Args:
        home: The home.
        project: Its project.
    """
    lake = home / "lake" / project
    logs = lake.glob("*/*/_delta_log")
    texts = [*home.glob("serving/*.json"), *home.glob("serving/bentos/bentos/churn/*/src/bundle/contract.json")]
    texts += home.glob(f"training/{project}/*/manifest.json")
    return {
        "project": project,
        "tables": {str(log.parent.relative_to(lake)): _table(log.parent) for log in sorted(logs)},
        "registry": _registry(home, f"churn-{project}"),
        "texts": {str(path.relative_to(home)): path.read_text().replace(str(home), HOME) for path in sorted(texts)},
        "parquet": {
            str(path.relative_to(home)): columns(pq.read_table(path))
            for path in sorted(home.glob(f"training/{project}/*/*.parquet"))
        },
        "arrow_streams": {str(path.relative_to(home)): _stream(path) for path in sorted(home.glob("*/**/*.arrows"))},
        "lmdb": {str(path.parent.relative_to(home)): _lmdb(path.parent) for path in home.glob("*/**/data.mdb")},
    }


def columns(rows: pa.Table) -> dict[str, Any]:
    """Return each column as its type and its distinct values as texts, with the position of each row's value."""
    found = {}
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        encoded = column.combine_chunks().dictionary_encode()
        texts = pc.cast(encoded.dictionary, pa.string()).to_pylist()
        found[name] = {"type": str(column.type), "values": texts, "rows": encoded.indices.to_pylist()}
    return found


def _table(folder: Path) -> dict[str, Any]:
    table = DeltaTable(str(folder))
    rows = pa.table(table.to_pyarrow_table() if hasattr(table, "to_pyarrow_table") else table)
    return {
        "schema": json.loads(table.schema().to_json()),
        "configuration": table.metadata().configuration,
        "description": table.metadata().description,
        "protocol": [table.protocol().min_reader_version, table.protocol().min_writer_version],
        "columns": columns(_matrices_as_texts(rows)),
    }


def _matrices_as_texts(rows: pa.Table) -> pa.Table:
    """Return the rows with lists as JSON texts."""
    for position, field in enumerate(rows.schema):
        if pa.types.is_fixed_size_list(field.type):
            texts = pa.array([json.dumps(values) for values in rows[field.name].to_pylist()])
            rows = rows.set_column(position, field.name, texts)
    return rows


def _registry(home: Path, name: str) -> dict[str, Any]:
    client = mlflow.MlflowClient(f"sqlite:///{home}/mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{home}/mlflow.db")
    versions = {}
    for version in client.search_model_versions(f"name = '{name}'"):
        run = client.get_run(version.run_id)
        files = {item.path for item in client.list_artifacts(version.run_id) if item.path.endswith(".json")}
        uri = f"{client.get_model_version_download_uri(name, version.version)}/data/bundle"
        with tempfile.TemporaryDirectory() as folder:
            bundle = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=folder))
            booster = xgb.Booster(model_file=bundle / "model.ubj")
            texts = {path.name: json.loads(path.read_bytes()) for path in bundle.glob("*.json")}
        versions[version.version] = {
            "tags": {key: value.replace(str(home), HOME) for key, value in version.tags.items()},
            "metrics": run.data.metrics,
            "documents": {
                path: json.loads(mlflow.artifacts.load_text(f"runs:/{version.run_id}/{path}")) for path in sorted(files)
            },
            "bundle": {name: content for name, content in texts.items() if name != "manifest.json"},
            "booster": json.loads(booster.save_raw("json")),
        }
    return {"name": name, "aliases": client.get_registered_model(name).aliases, "versions": versions}


def _stream(path: Path) -> dict[str, Any]:
    reader = pa.ipc.open_stream(path.read_bytes())
    metadata = {key.decode(): value.decode() for key, value in (reader.schema.metadata or {}).items()}
    return {"metadata": metadata, "columns": columns(_matrices_as_texts(reader.read_all()))}


def _lmdb(folder: Path) -> dict[str, dict[str, str]]:
    with lmdb.open(str(folder), readonly=True, lock=False, max_dbs=8) as env, env.begin() as txn:
        names = [bytes(name) for name, _ in txn.cursor()]
        databases = {name: env.open_db(name, txn, create=False) for name in names}
        return {
            name.decode(): {key.hex(): value.hex() for key, value in txn.cursor(database)}
            for name, database in databases.items()
        }


if __name__ == "__main__":
    home, project, file = Path(sys.argv[1]).absolute(), sys.argv[2], Path(sys.argv[3])
    file.write_text(json.dumps(record(home, project), separators=(",", ":")) + "\n")
