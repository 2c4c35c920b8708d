"""Erase a customer from delivered files in the landing folder."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pyarrow as pa

from include.errors import ChurnflowError
from include.privacy.delivered_rows import RewriteError, content_without
from include.projects import Project
from include.sources.bronze_tables import ROW
from include.sources.connections import Connections
from include.sources.customer_ids import CustomerRows, IsWanted
from include.sources.delivered_files import Deliveries, open_delivery
from include.sources.read_files import read_files
from include.sources.storage import DailyFiles, StoredFile, is_access_failure


@dataclass(frozen=True)
class ErasedFile:
    """The rows of a customer in a delivered file: its address, and their number."""

    file: str
    rows: int


def erase_from_landing(
    project: Project, connections: Connections, is_unwanted: IsWanted, *, dry_run: bool
) -> Iterator[ErasedFile | ChurnflowError]:
    """Erase the rows of a customer from the files below the landing address, and yield each file that had some.

    Files with an address of their own belong to a source system and are not read. For a file that cannot be read or
    written, the error is yielded.

    Args:
        project: The project.
        connections: The landing address.
        is_unwanted: Whether the rows of a customer are erased.
        dry_run: Whether the rows are only counted.
    """
    for name, source in project.sources.items():
        if (
            source.customer
            and source.files
            and (address := connections.address(source.files.path)) != source.files.path
        ):
            storage, customer = DailyFiles(address, source.files.compression), CustomerRows(source, is_unwanted)
            for day, file in _listed(storage).items():
                try:
                    rows = _erase(name, customer, storage, day, file, dry_run=dry_run)
                except ChurnflowError as error:
                    yield error
                else:
                    if rows:
                        yield ErasedFile(file.uri, rows)


def _listed(storage: DailyFiles) -> dict[dt.date, StoredFile]:
    try:
        return storage.list()
    except ChurnflowError as error:
        # Deployments whose sources are all databases have no landing folder.
        if error.can_retry:
            raise
        return {}


def _erase(
    name: str,
    customer: CustomerRows,
    storage: DailyFiles,
    day: dt.date,
    file: StoredFile,
    *,
    dry_run: bool,
) -> int:
    # Only the customer column is read: the other columns of most files are not needed.
    source, column = customer.source, customer.column
    narrow = source.model_copy(update={"columns": {column: source.columns[column]}, "key": [column]})
    if file.size == 0:
        return 0
    item = replace(open_delivery(name, narrow, storage, day, file), undeclared=())
    rows = read_files(narrow, Deliveries(storage, {day: file}, (item,)))
    removed = _numbers(rows) - _numbers(customer.without(rows))
    if removed and not dry_run:
        content = content_without(name, source, storage, day, file, removed)
        try:
            storage.replace(file, content)
        except Exception as error:
            if not is_access_failure(error):
                raise
            raise RewriteError(
                f"The file cannot be written ({type(error).__name__}).",
                where=file.uri,
                remedy="Grant this process write access, or remove the customer's rows from it by hand.",
            ) from error
    return len(removed)


def _numbers(rows: pa.Table) -> set[int]:
    return set(rows[ROW].to_pylist())
