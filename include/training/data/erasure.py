"""Erase customers from a training data set, whose manifest then describes the remaining rows."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError

from include.local_files import file_checksum
from include.training.data.build import write_part
from include.training.data.dataset import MANIFEST_FILE, DatasetManifest, write_manifest


def erase_from_dataset(folder: Path, is_unwanted: Callable[[str], bool], *, dry_run: bool) -> int:
    """Erase the rows of customers from the data set in a folder, and return the number of rows.

    New files are written, then the manifest that names them, and then the old files are deleted; so the data set is
    valid after an interruption. A file with such rows that the manifest does not name is deleted.

    Args:
        folder: The folder of the data set.
        is_unwanted: Whether the rows of a customer are erased.
        dry_run: Whether the rows are only counted.
    """
    found = {path.name: _kept(path, is_unwanted) for path in sorted(folder.glob("*.parquet"))}
    changed = {name: kept for name, kept in found.items() if kept is not None}
    rows = sum(int(pq.read_metadata(folder / name).num_rows - kept.num_rows) for name, kept in changed.items())
    if not dry_run and changed:
        try:
            manifest = DatasetManifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
        except (OSError, ValidationError):
            pass  # the data set is incomplete, and has to be built again
        else:
            write_manifest(folder, _changed_manifest(folder, manifest, changed))
        for name in changed:
            (folder / name).unlink()
    return rows


def _changed_manifest(folder: Path, manifest: DatasetManifest, changed: dict[str, pa.Table]) -> DatasetManifest:
    updates: dict[str, object] = {}
    for name, part in manifest.parts.items():
        if part.file in changed:
            updates[name] = write_part(changed[part.file], part.days, manifest.label, _new_file(folder, name))
    scores = manifest.champion_scores
    if scores and scores.file in changed:
        path = _new_file(folder, "champion_scores")
        pq.write_table(changed[scores.file], path)
        updates["champion_scores"] = scores.model_copy(update={"file": path.name, "sha256": file_checksum(path)})
    return manifest.model_copy(update=updates)


def _new_file(folder: Path, name: str) -> Path:
    return folder / f"{name}-{uuid.uuid4().hex[:8]}.parquet"


def _kept(path: Path, is_unwanted: Callable[[str], bool]) -> pa.Table | None:
    """Return the rows that stay; None if these are all rows, or the file cannot be read."""
    try:
        rows = pq.read_table(path)
    except (pa.ArrowException, OSError):
        return None
    if "customer_id" not in rows.column_names:
        return None
    unwanted = [name for name in pc.unique(rows["customer_id"]).to_pylist() if is_unwanted(name)]
    if not unwanted:
        return None
    return rows.filter(pc.invert(pc.is_in(rows["customer_id"], value_set=pa.array(unwanted))))
