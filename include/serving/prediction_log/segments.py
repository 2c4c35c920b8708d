"""Segments: Parquet files with the predictions of a few seconds, in the spool and at their destination.

A server process writes segments into the spool, a local folder; an uploader delivers them to the destination, a folder
or an object store. A file has the name of a segment only when it is complete, so that any process may deliver it.
"""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from include.errors import ChurnflowError
from include.local_files import PRIVATE, write_atomically
from include.serving.prediction_log.predictions import SEGMENT_COLUMNS
from include.settings import Settings

_NAME = re.compile(r"(\d{4}-\d{2}-\d{2})\.([a-z][a-z0-9_]*)\..+\.parquet")
_DAMAGED = "damaged"


class SegmentError(ChurnflowError):
    """A file is not a segment, or is damaged."""


class SegmentName(NamedTuple):
    """The parts of a segment's file name that are read.

    Attributes:
        day: The UTC day of all its rows.
        project: The project of the model that answered.
    """

    day: dt.date
    project: str


def new_segment_name(day: dt.date, project: str, source: str) -> str:
    """Return a unique file name.

    Args:
        day: The UTC day of all rows.
        project: The project of the model that answered.
        source: The Bento's version, for people who read the file names.
    """
    return f"{day}.{project}.{source}.{uuid.uuid4().hex}.parquet"


def parse_segment_name(name: str) -> SegmentName | None:
    """Return the parts of a segment's file name; None for the name of another file."""
    found = _NAME.fullmatch(name)
    try:
        return SegmentName(dt.date.fromisoformat(found[1]), found[2]) if found else None
    except ValueError:
        return None


def write_segment(spool: Path, name: str, rows: pa.RecordBatch) -> None:
    """Write a segment into the spool, readable by its owner only.

    Args:
        spool: The folder, created if it is missing.
        name: The file's name; see ``new_segment_name``.
        rows: The rows; see ``segment_rows``.

    Raises:
        OSError: The file cannot be written; there is no partial segment.
    """
    _make_private(spool)
    write_atomically(spool / name, segment_content(pa.Table.from_batches([rows])), PRIVATE)


def segment_content(rows: pa.Table) -> bytes:
    """Return the content of the file of a segment.

    Args:
        rows: The rows; see ``segment_rows``.
    """
    # Texts that repeat; a segment that was read has them as plain texts.
    texts = [
        field.name
        for field in rows.schema
        if pa.types.is_dictionary(field.type) or (pa.types.is_string(field.type) and field.name != "customer_id")
    ]
    sink = pa.BufferOutputStream()
    # Compression and statistics would triple the time: 32-bit floats hardly compress.
    with pq.ParquetWriter(
        sink,
        rows.schema,
        compression="none",
        use_dictionary=texts,
        write_statistics=False,
        write_page_checksum=True,
        store_schema=False,
    ) as writer:
        writer.write_table(rows)
    return bytes(sink.getvalue())


def spooled_bytes(spool: Path) -> int:
    """Return the total size of the segments in the spool."""
    total = 0
    for path in spool.glob("*.parquet"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue  # delivered in the meantime
    return total


class SegmentStore:
    """The destination of segments, with one folder for each UTC day.

    Args:
        uri: A folder, or ``s3://bucket/prefix``.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        self._resolved: tuple[fs.FileSystem, str] | None = None

    def take(self, path: Path) -> None:
        """Move a segment from the spool into the store; readers find the whole segment or none.

        Raises:
            FileNotFoundError: Another process has moved the segment.
            OSError: The store rejects the segment or does not answer; the segment stays in the spool.
        """
        files, root = self._files()
        target = f"{root}/dt={path.name[:10]}/{path.name}"
        if self.uri.startswith("/"):
            _make_private(Path(target).parent)
            if Path(target).parent.stat().st_dev == path.stat().st_dev:
                path.rename(target)
                return
            write_atomically(Path(target), path.read_bytes(), PRIVATE)
        else:
            content = path.read_bytes()
            # The object appears when the stream is closed.
            with files.open_output_stream(target) as stream:
                stream.write(content)
        path.unlink(missing_ok=True)

    def segments(self) -> dict[dt.date, list[str]]:
        """Return the sorted names of the segments of each day. Other files are ignored."""
        files, root = self._files()
        found: dict[dt.date, list[str]] = {}
        for info in files.get_file_info(fs.FileSelector(root, allow_not_found=True, recursive=True)):
            name = parse_segment_name(info.base_name)
            if name and info.type == fs.FileType.File and info.path == f"{root}/dt={name.day}/{info.base_name}":
                found.setdefault(name.day, []).append(info.base_name)
        return {day: sorted(found[day]) for day in sorted(found)}

    def read(self, name: str) -> pa.Table:
        """Return the rows of a segment as ``gold/predictions`` stores them.

        Raises:
            SegmentError: The file is not a segment, or is damaged.
            OSError: The segment does not exist, or the store does not answer.
        """
        files, root = self._files()
        with files.open_input_stream(f"{root}/dt={name[:10]}/{name}") as source:
            content = source.read_buffer()
        # Errors from here on are errors in the file and not errors of the store.
        try:
            table = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True).read()
            table.validate(full=True)
        except (pa.ArrowException, OSError) as error:
            raise _error(name, "The file is damaged, or is not a Parquet file.") from error
        return _lake_rows(name, table)

    def set_aside(self, name: str) -> str:
        """Move a damaged segment to the folder ``damaged``, and return its new address."""
        files, root = self._files()
        if self.uri.startswith("/"):
            _make_private(Path(root) / _DAMAGED)
        files.move(f"{root}/dt={name[:10]}/{name}", f"{root}/{_DAMAGED}/{name}")
        return f"{self.uri}/{_DAMAGED}/{name}"

    def erase(self, name: str, is_unwanted: Callable[[str], bool]) -> int:
        """Remove the rows of some customers from a segment, and return their number; zero if it is damaged."""
        files, root = self._files()
        try:
            return erase_rows(files, f"{root}/dt={name[:10]}/{name}", is_unwanted)
        except SegmentError:
            return 0

    def remove(self, name: str) -> None:
        """Delete a segment."""
        files, root = self._files()
        files.delete_file(f"{root}/dt={name[:10]}/{name}")

    def _files(self) -> tuple[fs.FileSystem, str]:
        # Not in the constructor, because resolving an object store sends a request for the bucket's region.
        if self._resolved is None:
            files, root = fs.FileSystem.from_uri(self.uri)
            self._resolved = files, root.rstrip("/")
        return self._resolved


def segment_store(settings: Settings) -> SegmentStore:
    """Return the destination of the segments of the settings' project."""
    return SegmentStore(settings.serving.log.uri or str(settings.home / "prediction_log" / settings.project))


def spool_folder(settings: Settings) -> Path:
    """Return the spool of the settings' project."""
    return Path(settings.serving.log.spool or settings.home / "prediction_log_spool" / settings.project)


def deliver_spool(spool: Path, store: SegmentStore, project: str) -> int:
    """Move all segments of a project from the spool to the store, and return their number.

    Several processes may deliver the same spool, since storing a segment twice changes nothing.

    Args:
        spool: The folder of the segments; those of ended processes are delivered too.
        store: The destination.
        project: The project. Segments of other projects, which may have another destination, stay in the spool.

    Raises:
        OSError: The store rejects a segment or does not answer; the remaining segments stay in the spool.
    """
    delivered = 0
    for path in sorted(spool.glob("*.parquet")):
        name = parse_segment_name(path.name)
        if name is None or name.project != project:
            continue
        try:
            store.take(path)
            delivered += 1
        except FileNotFoundError:
            continue  # another process has delivered it
    return delivered


def all_files(settings: Settings) -> list[tuple[fs.FileSystem, str]]:
    """Return the files of the project's segments in the spool and in the store, including damaged segments."""
    found = []
    for files, root in ((fs.LocalFileSystem(), str(spool_folder(settings))), segment_store(settings)._files()):
        for info in files.get_file_info(fs.FileSelector(root, allow_not_found=True, recursive=True)):
            name = parse_segment_name(info.base_name)
            if info.type == fs.FileType.File and name and name.project == settings.project:
                found.append((files, info.path))
    return found


def erase_rows(files: fs.FileSystem, path: str, is_unwanted: Callable[[str], bool], *, dry_run: bool = False) -> int:
    """Remove the rows of some customers from the file of a segment, and return their number.

    A segment without other rows is deleted.

    Args:
        files: The file system.
        path: The file.
        is_unwanted: Whether the rows of a customer are removed.
        dry_run: Whether the rows are only counted.

    Raises:
        SegmentError: The file is damaged; it is unchanged.
        OSError: The store does not answer.
    """
    try:
        with files.open_input_stream(path) as source:
            content = source.read_buffer()
    except FileNotFoundError:
        return 0  # delivered or removed by another process
    try:
        rows = pq.ParquetFile(pa.BufferReader(content)).read()
        customers = pc.unique(rows["customer_id"])
    except (pa.ArrowException, OSError, KeyError) as error:
        raise _error(path, "The file is damaged, or is not a segment.") from error
    unwanted = customers.filter(pa.array([name is not None and is_unwanted(name) for name in customers.to_pylist()]))
    kept = rows.filter(pc.invert(pc.is_in(rows["customer_id"], value_set=unwanted)))
    removed = int(rows.num_rows - kept.num_rows)
    if removed and not dry_run:
        _replace(files, path, segment_content(kept) if kept.num_rows else None)
    return removed


def delete_damaged(files: fs.FileSystem, path: str, text: str, *, dry_run: bool = False) -> bool:
    """Delete the file of a damaged segment if it contains a text, and return whether it does.

    Args:
        files: The file system.
        path: The file. Segments are not compressed, so that it contains texts as they are.
        text: The text.
        dry_run: Whether the file is kept.
    """
    with files.open_input_stream(path) as source:
        found = text.encode(errors="replace") in source.read()
    if found and not dry_run:
        files.delete_file(path)
    return found


def _replace(files: fs.FileSystem, path: str, content: bytes | None) -> None:
    if content is None:
        files.delete_file(path)
    elif isinstance(files, fs.LocalFileSystem):
        write_atomically(Path(path), content, PRIVATE)
    else:
        with files.open_output_stream(path) as stream:
            stream.write(content)


def _lake_rows(name: str, table: pa.Table) -> pa.Table:
    """Check the columns and the day of a segment's rows, and add the columns that only the lake has."""
    day = dt.date.fromisoformat(name[:10])
    columns = dict(zip(table.schema.names, table.columns, strict=True))
    fixed = {column: columns.pop(column).type for column in SEGMENT_COLUMNS if column in columns}
    features = {pa.float32(): "number_", pa.string(): "category_"}
    if fixed != SEGMENT_COLUMNS or not all(
        column.startswith(features.get(values.type, "-")) for column, values in columns.items()
    ):
        raise _error(name, "The columns are not those of a segment.")
    days = pc.cast(pc.cast(table["answered_at"], pa.timestamp("us")), pa.date32(), safe=False)
    if pc.unique(days).to_pylist() != [day]:
        raise _error(name, f"The file has no rows, or rows of other days than {day}.")
    for column, values in columns.items():
        if values.type == pa.float32():
            columns[column] = pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float32()), values)
    head = {column: table[column] for column in SEGMENT_COLUMNS}
    return pa.table({"dt": days, **head, "part": pa.repeat(name, table.num_rows), **columns})


def _error(name: str, what: str) -> SegmentError:
    return SegmentError(what, where=f"prediction log, {name}", remedy="Find out which process wrote the file.")


def _make_private(folder: Path) -> None:
    # mkdir applies the mode to the last folder only.
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
