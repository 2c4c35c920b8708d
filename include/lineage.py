"""The record of the datasets that a task reads and writes, with their versions, for its lineage event.

Nothing is recorded before ``start``. A process runs one task at a time, so the record belongs to the process, and the
threads of the task share it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Dataset:
    """A dataset at one version.

    Attributes:
        name: The name within the project: that of a table of the lake, ``landing/<path>``, or one of the constants of
            this module.
        namespace: ``file`` for a path; otherwise the scheme and the server of the address, or the bucket.
        path: The path, or the rest of the address.
        version: The version: that of Delta or of the registry, a checksum, or days.
        columns: The types of the columns by name; empty for a dataset without columns.
    """

    name: str
    namespace: str
    path: str
    version: str
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_delta(self) -> bool:
        """Whether the dataset is a table of the lake."""
        return self.name.startswith(("bronze/", "silver/", "gold/", "quarantine/", "monitoring/", "privacy/"))


@dataclass(frozen=True)
class Lineage:
    """The datasets that a task has read and written, by name, each at the version of its last use."""

    read: dict[str, Dataset] = field(default_factory=dict)
    written: dict[str, Dataset] = field(default_factory=dict)


TRAINING_DATASET, MODEL, BENTO, RAW_VERSION, ONLINE_STORE = "training", "model", "bento", "versions", "online_store"
"""The names of the datasets outside the lake: the training data set, the registered model, its Bento, the DVC version
of the raw data, and the online store."""

_recorded: Lineage | None = None


def start() -> None:
    """Start an empty record, which replaces that of an earlier task in this process."""
    global _recorded
    _recorded = Lineage()


def recorded() -> Lineage:
    """Return what has been recorded since the last ``start``; nothing if there was none."""
    return _recorded or Lineage()


def record_read(name: str, uri: str, version: object, columns: pa.Schema | Mapping[str, str] | None = None) -> None:
    """Record that the task has read a dataset.

    Args:
        name: The name within the project.
        uri: The path or address; user and password are left out.
        version: The version that was read.
        columns: The columns.
    """
    if _recorded is not None:
        _recorded.read[name] = _dataset(name, uri, version, columns)


def record_write(name: str, uri: str, version: object, columns: pa.Schema | Mapping[str, str] | None = None) -> None:
    """Record that the task has written a dataset.

    Args:
        name: The name within the project.
        uri: The path or address; user and password are left out.
        version: The version that was written.
        columns: The columns.
    """
    if _recorded is not None:
        _recorded.written[name] = _dataset(name, uri, version, columns)


def _dataset(name: str, uri: str, version: object, columns: pa.Schema | Mapping[str, str] | None) -> Dataset:
    address = urlsplit(uri)
    if address.scheme:
        namespace, path = f"{address.scheme}://{address.netloc.rpartition('@')[2]}", address.path.lstrip("/")
    else:
        namespace, path = "file", uri
    if columns is not None and not isinstance(columns, Mapping):
        columns = {column.name: str(column.type) for column in columns}
    return Dataset(name, namespace, path, str(version), columns or {})
