"""Write the home of a recorded deployment; see ``record.py``."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import lmdb
import mlflow
import pyarrow as pa
import pyarrow.parquet as pq
import xgboost as xgb
from deltalake import DeltaTable, Schema, write_deltalake

from include.settings import Settings
from tests.upgrade.record import HOME

_SIMPLE_TYPES = {"date32[day]": pa.date32(), "timestamp[us]": pa.timestamp("us"), "double": pa.float64()}
_SIMPLE_TYPES |= {"float": pa.float32(), "timestamp[us, tz=UTC]": pa.timestamp("us", "UTC")}
_SIMPLE_TYPES |= {"decimal128(18, 4)": pa.decimal128(18, 4)}


def restore(file: Path, home: Path) -> Settings:
    """Write a recorded deployment into a new home, and return its settings.

    Args:
        file: The record.
        home: The home.
    """
    found = json.loads(file.read_text())
    settings = Settings(
        home=home,
        project=found["project"],
        mlflow={"tracking_uri": f"sqlite:///{home}/mlflow.db"},
        privacy={"key": "k" * 32},
    )
    for name, table in found["tables"].items():
        _write_table(home / "lake" / found["project"] / name, table)
    for name, text in found["texts"].items():
        _file(home / name).write_text(text.replace(HOME, str(home)))
    for name, content in found["parquet"].items():
        pq.write_table(rows_of(content), _file(home / name))
    for name, stream in found["arrow_streams"].items():
        _write_stream(_file(home / name), stream)
    for name, databases in found["lmdb"].items():
        _write_lmdb(_file(home / name / "data.mdb").parent, databases)
    _write_registry(settings, found["registry"])
    return settings


def rows_of(content: dict[str, Any]) -> pa.Table:
    """Return the rows that ``record.columns`` recorded."""
    arrays = {}
    for name, column in content.items():
        kind = _SIMPLE_TYPES.get(column["type"]) or pa.type_for_alias(column["type"])
        arrays[name] = pa.array(column["values"], pa.string()).cast(kind).take(pa.array(column["rows"], pa.int32()))
    return pa.table(arrays)


def _file(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write_table(folder: Path, table: dict[str, Any]) -> None:
    created = DeltaTable.create(
        str(folder),
        Schema.from_json(json.dumps(table["schema"])),
        partition_by=["dt"],
        configuration=table["configuration"],
        description=table["description"],
    )
    write_deltalake(created, rows_of(table["columns"]), mode="append")
    protocol = DeltaTable(str(folder)).protocol()
    assert [protocol.min_reader_version, protocol.min_writer_version] == table["protocol"]


def _write_stream(path: Path, stream: dict[str, Any]) -> None:
    rows = rows_of(stream["columns"])
    values = [json.loads(text.replace("NaN", "null")) for text in rows["features"].to_pylist()]
    matrix = [[float("nan") if value is None else value for value in row] for row in values]
    kind = pa.list_(pa.float32(), len(matrix[0]))
    rows = rows.set_column(rows.column_names.index("features"), "features", pa.array(matrix, kind))
    with pa.ipc.new_stream(path, rows.replace_schema_metadata(stream["metadata"]).schema) as writer:
        writer.write_table(rows.replace_schema_metadata(stream["metadata"]))


def _write_lmdb(folder: Path, databases: dict[str, dict[str, str]]) -> None:
    with lmdb.open(str(folder), max_dbs=8) as env, env.begin(write=True) as txn:
        for name, items in databases.items():
            database = env.open_db(name.encode(), txn)
            for key, value in items.items():
                txn.put(bytes.fromhex(key), bytes.fromhex(value), db=database)


def _write_registry(settings: Settings, registry: dict[str, Any]) -> None:
    uri, home = settings.mlflow.tracking_uri, settings.home
    client, name = mlflow.MlflowClient(uri, uri), registry["name"]
    mlflow.set_tracking_uri(uri)
    experiment = client.create_experiment(name, artifact_location=(home / "mlflow" / name).as_uri())
    client.create_registered_model(name)
    for version in sorted(registry["versions"], key=int):
        found = registry["versions"][version]
        with mlflow.start_run(experiment_id=experiment) as run, tempfile.TemporaryDirectory() as folder:
            mlflow.log_metrics(found["metrics"])
            for path, content in found["documents"].items():
                mlflow.log_dict(content, path)
            _write_bundle(Path(folder) / "bundle", found)
            model = mlflow.pyfunc.log_model(
                name="model", loader_module="json", data_path=f"{folder}/bundle", pip_requirements=[]
            )
        tags = {key: value.replace(HOME, str(home)) for key, value in found["tags"].items()}
        client.create_model_version(name, model.model_uri, run.info.run_id, tags=tags, model_id=model.model_id)
    for alias, version in registry["aliases"].items():
        client.set_registered_model_alias(name, alias, str(version))


def _write_bundle(folder: Path, version: dict[str, Any]) -> None:
    folder.mkdir()
    for name, content in version["bundle"].items():
        (folder / name).write_text(json.dumps(content, indent=1) + "\n")
    booster = xgb.Booster()
    booster.load_model(bytearray(json.dumps(version["booster"]), "utf-8"))
    booster.save_model(folder / "model.ubj")
    checksums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    (folder / "manifest.json").write_text(json.dumps(checksums))
