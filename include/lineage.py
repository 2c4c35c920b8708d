"""The record of the datasets that a task reads and writes, with their versions, for its lineage event.

Nothing is recorded before ``start``. A process runs one task at a time, so the record belongs to the process, and the
threads of the task share it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Dataset:
    """A dataset at one version.

    Attributes:
        name: The name within the project: that of a table of the lake, ``landing/<path>``, or one of the constants of
            this module.
        uri: The path or address, without credentials.
        version: The version: that of Delta or of the registry, or a checksum.
        columns: The types of the columns by name; empty for a dataset without columns.
    """

    name: str
    uri: str
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
        uri: The path or address, without credentials.
        version: The version that was read.
        columns: The columns.
    """
    if _recorded is not None:
        _recorded.read[name] = Dataset(name, uri, str(version), _types(columns))


def record_write(name: str, uri: str, version: object, columns: pa.Schema | Mapping[str, str] | None = None) -> None:
    """Record that the task has written a dataset.

    Args:
        name: The name within the project.
        uri: The path or address, without credentials.
        version: The version that was written.
        columns: The columns.
    """
    if _recorded is not None:
        _recorded.written[name] = Dataset(name, uri, str(version), _types(columns))


def _types(columns: pa.Schema | Mapping[str, str] | None) -> Mapping[str, str]:
    if columns is None or isinstance(columns, Mapping):
        return columns or {}
    return {column.name: str(column.type) for column in columns}
