"""The lineage of deliveries: the files or the database table that a step reads, as one dataset for each source."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from include.days import DayRange
from include.lineage import record_read
from include.projects import Source

if TYPE_CHECKING:
    from include.sources.delivered_files import Delivery
    from include.sources.read_table import SourceTable


def landing_dataset(source: Source) -> str:
    """Return the name of the dataset from which a source is read: ``landing/`` and its path or table."""
    where = source.files.path if source.files else source.database.table if source.database else ""
    return f"landing/{where}"


def record_files_read(source: Source, address: str, items: Sequence[Delivery]) -> None:
    """Record that delivered files are read.

    The version is a checksum of the days and the sizes of the files. Only declared columns are recorded, since the
    header of a file without a header is its first row.

    Args:
        source: The configuration of the source.
        address: The address of its files, with ``{day}``.
        items: The files; a snapshot source may have none in the days of a run.
    """
    if not items:
        return
    sizes = json.dumps({str(item.day): item.file.size for item in items})
    version = hashlib.sha256(sizes.encode()).hexdigest()[:16]
    types = {name: kind.name for item in items for name, kind in item.columns.items()}
    record_read(landing_dataset(source), address, version, _declared(source, types))


def record_table_read(table: SourceTable, days: DayRange) -> None:
    """Record that a database table is read. The table has no version; the days that are read stand for it.

    Args:
        table: The table.
        days: The days.
    """
    address = table.database.table_uri(landing_dataset(table.source).removeprefix("landing/"))
    types = {name: str(kind) for name, kind in table.types.items()}
    record_read(landing_dataset(table.source), address, days, _declared(table.source, types))


def _declared(source: Source, types: Mapping[str, str]) -> dict[str, str]:
    return {name: types.get(name, "") for name in map(source.delivered_name, source.columns)}
