"""The prediction log of release 0.1.0: parts in Arrow's stream format, which this release does not collect."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import fs

from include.errors import ChurnflowError
from include.lake import Lake
from include.lake.table_names import PREDICTIONS_TABLE
from include.serving.prediction_log.segments import segment_store, spool_folder
from include.settings import Settings

_METADATA_KEY = b"churnflow.predictions"
_SUFFIX = ".arrows"


class PartError(ChurnflowError):
    """A file of the former prediction log is damaged."""


class Part(NamedTuple):
    """A file of the former log: in the spool, in the store, or set aside because it was damaged."""

    files: fs.FileSystem
    path: str


def find_parts(settings: Settings) -> list[Part]:
    """Return the parts in the spool and in the store of the settings' project, without those that were set aside."""
    found = []
    for uri in (str(spool_folder(settings)), segment_store(settings).uri):
        files, root = fs.FileSystem.from_uri(uri)
        for info in files.get_file_info(fs.FileSelector(root, allow_not_found=True, recursive=True)):
            folder = PurePath(info.path).parent
            if info.base_name.endswith(_SUFFIX) and (folder == PurePath(root) or folder.name.startswith("dt=")):
                found.append(Part(files, info.path))
    return sorted(found, key=lambda part: part.path)


def collect_parts(parts: list[Part], lake: Lake) -> None:
    """Add the rows of parts to ``gold/predictions``, unless they were collected before, and delete the parts.

    Args:
        parts: The parts.
        lake: The lake.

    Raises:
        PartError: A part is damaged; it is unchanged, and no part of its day is deleted.
        DiskFullError: The disk is full; the day is unchanged.
    """
    table, days = lake.table(PREDICTIONS_TABLE), defaultdict(list)
    for part in parts:
        days[PurePath(part.path).name[:10]].append(part)
    for some in days.values():
        rows = [batch for part in some for batch in _read(part)]
        added = pa.concat_tables(rows, promote_options="default")
        day = pc.unique(added["dt"]).to_pylist()
        before = table.read(day) if table.exists() else added.slice(0, 0)
        new = added.filter(pc.invert(pc.is_in(added["part"], value_set=pc.unique(before["part"]))))
        if new.num_rows:
            table.replace(day, pa.concat_tables([before, new], promote_options="permissive"))
        for part in some:
            part.files.delete_file(part.path)


def _read(part: Part) -> list[pa.Table]:
    with part.files.open_input_stream(part.path) as source:
        content = pa.BufferReader(source.read_buffer())
    try:
        reader = pa.ipc.open_stream(content)
        header = json.loads(reader.schema.metadata[_METADATA_KEY])
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(part) from error
    rows: list[pa.Table] = []
    while True:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            return rows
        except (pa.ArrowException, OSError) as error:
            if content.read(1):
                raise _damaged(part) from error
            return rows  # its server was killed while it wrote the last batch
        rows.append(_lake_rows(batch, header, PurePath(part.path).name))


def _lake_rows(batch: pa.RecordBatch, header: dict[str, Any], name: str) -> pa.Table:
    rows = batch.num_rows
    shadow = pa.scalar(header["shadow_version"], pa.string())
    columns = {
        "dt": pc.cast(pc.cast(batch["answered_at"], pa.timestamp("us")), pa.date32(), safe=False),
        "answered_at": batch["answered_at"],
        "customer_id": batch["customer_id"],
        "model_version": pa.repeat(header["model_version"], rows),
        "churn_probability": batch["churn_probability"],
        "prediction": pc.if_else(batch["churn"], "churn", "retain"),
        "features_day": batch["features_day"],
        "shadow_version": pc.if_else(batch["shadow_probability"].is_valid(), shadow, None),
        "shadow_probability": batch["shadow_probability"],
        "shadow_prediction": pc.if_else(batch["shadow_churn"], "churn", "retain"),
        "part": pa.repeat(name, rows),
    }
    if "features" in batch.schema.names:
        matrix = batch["features"].flatten().to_numpy(zero_copy_only=False).reshape(rows, -1)
        for feature, values in zip(header["features"], matrix.T, strict=True):
            kind = "number" if feature["categories"] is None else "category"
            columns[f"{kind}_{feature['name']}"] = _decoded(values, feature["categories"])
    return pa.table(columns)


def _decoded(values: NDArray[np.float32], categories: list[str] | None) -> pa.Array:
    missing = np.isnan(values)
    if categories is None:
        return pa.array(values, mask=missing)
    return pa.array(categories, pa.string()).take(pa.array(np.where(missing, 0, values).astype(np.int32), mask=missing))


def _damaged(part: Part) -> PartError:
    return PartError(
        "The file of the prediction log of release 0.1.0 is damaged.",
        where=part.path,
        remedy="Move the file away, then repeat the upgrade without its predictions.",
    )
