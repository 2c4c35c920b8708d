"""Delete versions of raw data after their retention period."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Set
from pathlib import PurePosixPath

from include.versions.object_store import LIST, ObjectStore, open_stores
from include.versions.repository import Repository, dvc_errors


def delete_versions(repository: Repository, before: dt.date, kept: Set[str]) -> list[str]:
    """Delete the versions whose last day is before a day, in the cache and in the remote, and return their revisions.

    The version with the latest day is kept. Files that another version also has are kept.

    Args:
        repository: The versions.
        before: The day.
        kept: The revisions that are kept, as they were before any erasure.

    Raises:
        VersionError: The remote does not answer.
    """
    with repository.locked(), dvc_errors("Versions cannot be deleted", repository.remote):
        stores = open_stores(repository)
        versions = {name.removesuffix(LIST): _read(stores, name) for name in _lists(stores)}
        last = {revision: _last_day(files) for revision, files in versions.items()}
        needed = {repository.current(revision) for revision in kept}
        newest = max(last.values(), default=before)
        old = {revision for revision, day in last.items() if day < min(before, newest) and revision not in needed}
        shared = {
            checksum for revision, files in versions.items() if revision not in old for checksum in files.values()
        }
        for revision in sorted(old):
            for store in stores:
                store.remove([revision + LIST])
                store.remove(set(versions[revision].values()) - shared)
            repository.forget(revision)
    return sorted(old)


def _lists(stores: list[ObjectStore]) -> set[str]:
    return {name for store in stores for name in store.names if name.endswith(LIST)}


def _read(stores: list[ObjectStore], name: str) -> dict[str, str]:
    content = next(store for store in stores if name in store.names).read(name)
    return {entry["relpath"]: entry["md5"] for entry in json.loads(content)}


def _last_day(files: dict[str, str]) -> dt.date:
    return max(dt.date.fromisoformat(PurePosixPath(path).stem) for path in files)
