"""Erase customers from the versions of raw data, in DVC's cache and in the remote.

DVC stores each file under its checksum, and each version as a list of files. An erasure stores the files again without
the rows, stores the lists that name these files again, records which revision replaced which, and then deletes the old
lists and files. After an interruption, a repetition stores the same files again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from include.projects import Project
from include.sources.bronze_tables import UNDECLARED
from include.sources.customer_ids import CustomerRows, IsWanted
from include.versions.object_store import LIST, ObjectStore, open_stores
from include.versions.repository import Repository, dvc_errors
from include.versions.snapshot import parquet_content


@dataclass(frozen=True)
class ChangedVersion:
    """A version from which rows were erased.

    Attributes:
        replaced: Its revision with the rows.
        revision: Its revision without the rows.
        rows: The number of the rows.
        bytes_removed: The difference of the sizes of its files.
    """

    replaced: str
    revision: str
    rows: int
    bytes_removed: int


def erase_from_versions(
    project: Project, repository: Repository, is_unwanted: IsWanted, signing_key: Path | None, *, dry_run: bool
) -> list[ChangedVersion]:
    """Erase the rows of customers from all versions, and return the changed versions.

    Args:
        project: The project.
        repository: The versions.
        is_unwanted: Whether the rows of a customer are erased.
        signing_key: The file of the private key that signs the records of the replaced versions; None leaves them
            unsigned.
        dry_run: Whether the rows are only counted.

    Raises:
        VersionError: The remote does not answer.
        ProvenanceError: The key cannot be read.
    """
    lock = nullcontext() if dry_run else repository.locked()
    with lock, dvc_errors("Rows cannot be erased from the versions", repository.remote):
        stores = open_stores(repository)
        erasure = _Erasure(project, is_unwanted, stores, dry_run=dry_run)
        lists = sorted({name for store in stores for name in store.names if name.endswith(LIST)})
        changed = [item for name in lists if (item := erasure.change(name)).rows]
        if not dry_run:
            for item in changed:
                repository.replace(item.replaced, item.revision, item.bytes_removed, signing_key)
            for store in stores:
                store.remove(item.replaced + LIST for item in changed)
                store.remove(erasure.outdated(store))
            erasure.remove_exported(repository.raw)
            # DVC's notes about the files in the cache.
            shutil.rmtree(repository.folder / ".dvc" / "site", ignore_errors=True)
    return changed


class _ChangedFile(NamedTuple):
    checksum: str
    rows: int
    bytes_removed: int


class _Erasure:
    def __init__(
        self, project: Project, is_unwanted: IsWanted, stores: Sequence[ObjectStore], *, dry_run: bool
    ) -> None:
        self._sources = {
            name: CustomerRows(source, is_unwanted) for name, source in project.sources.items() if source.customer
        }
        self._stores, self._dry_run = stores, dry_run
        self._files: dict[tuple[str, str], _ChangedFile | None] = {}

    def change(self, name: str) -> ChangedVersion:
        """Store the files of a version, and then its list, without the rows of the customers."""
        entries, rows, bytes_removed = json.loads(self._read(name)), 0, 0
        for entry in entries:
            source = PurePosixPath(entry["relpath"]).parts[0]
            if changed := self._change_file(source, entry["md5"]):
                rows += changed.rows
                bytes_removed += changed.bytes_removed
                entry["md5"] = changed.checksum
        content = json.dumps(entries, sort_keys=True).encode()  # as DVC writes it
        if rows:
            self._write(name, _checksum(content) + LIST, content)
        return ChangedVersion(name.removesuffix(LIST), _checksum(content), rows, bytes_removed)

    def outdated(self, store: ObjectStore) -> list[str]:
        """Return the files with rows of the customers: those of the changed versions, and those of no version."""
        known = {checksum for _, checksum in self._files}
        replaced = {checksum for (_, checksum), changed in self._files.items() if changed}
        unknown = [name for name in store.names if name not in known and not name.endswith(LIST)]
        return [name for name in store.names if name in replaced] + [
            name for name in unknown if any(_without(rows, store.read(name)) for rows in self._sources.values())
        ]

    def remove_exported(self, folder: Path) -> None:
        """Remove files from the latest export; the next export writes them again from bronze."""
        for path in folder.rglob("*.parquet"):
            if _without(self._sources.get(path.parent.name), path.read_bytes()):
                path.unlink()

    def _change_file(self, source: str, checksum: str) -> _ChangedFile | None:
        key = (source, checksum)
        if key not in self._files:
            content = self._read(checksum)
            found = _without(self._sources.get(source), content)
            self._files[key] = found and _ChangedFile(_checksum(found[0]), found[1], len(content) - len(found[0]))
            if found:
                self._write(checksum, _checksum(found[0]), found[0])
        return self._files[key]

    def _read(self, name: str) -> bytes:
        return next(store for store in self._stores if name in store.names).read(name)

    def _write(self, replaced: str, name: str, content: bytes) -> None:
        for store in self._stores:
            if replaced in store.names and not self._dry_run:
                store.write(name, content)


def _without(customer: CustomerRows | None, content: bytes) -> tuple[bytes, int] | None:
    """Return the content of a file without the rows of the customers, and their number; None if it has no such rows."""
    if customer is None:
        return None
    try:
        rows = pq.ParquetFile(pa.BufferReader(content)).read()
    except pa.ArrowException:
        return None
    if not {customer.column, UNDECLARED} <= set(rows.column_names):
        return None
    kept = customer.without(rows)
    return (parquet_content(kept), len(rows) - len(kept)) if len(kept) < len(rows) else None


def _checksum(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
