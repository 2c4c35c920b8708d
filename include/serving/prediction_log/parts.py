"""Where finished parts lie: a folder or an object store, with one folder for each UTC day."""

from __future__ import annotations

import datetime as dt
import shutil
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from include.serving.prediction_log.spool import day_of, finished
from include.settings import Settings

_ASIDE = "aside"


class PartStore:
    """Delivered parts, each written once and never changed.

    Args:
        uri: A folder, readable by its owner alone, or ``s3://bucket/prefix``.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")

    def put(self, part: Path) -> None:
        """Move ``part`` from the spool to the folder of its day; whoever reads there sees all of it or nothing.

        Raises:
            OSError: The store refuses or does not answer; the part stays where it is.
            ValueError: The file has not the name of a part.
        """
        folder = f"{self._root}/dt={day_of(part.name)}"
        if self._is_local:
            _move(part, Path(folder) / part.name)
            return
        # The object appears when the stream is closed.
        with part.open("rb") as source, self._files.open_output_stream(f"{folder}/{part.name}") as target:
            shutil.copyfileobj(source, target, 2**20)
        part.unlink()

    def days(self) -> dict[dt.date, list[str]]:
        """Return the names of the parts of every day, sorted; a folder or file of another name is somebody else's."""
        found: dict[dt.date, list[str]] = {}
        for info in self._files.get_file_info(fs.FileSelector(self._root, allow_not_found=True, recursive=True)):
            with suppress(ValueError):
                day = day_of(info.base_name)
                if info.type == fs.FileType.File and info.path == self._path(day, info.base_name):
                    found.setdefault(day, []).append(info.base_name)
        return {day: sorted(found[day]) for day in sorted(found)}

    def open(self, day: dt.date, name: str) -> pa.NativeFile:
        """Return a part for reading.

        Raises:
            OSError: It is not there, or the store does not answer.
        """
        return self._files.open_input_stream(self._path(day, name))

    def put_aside(self, day: dt.date, name: str) -> str:
        """Move a part out of the way, and return where it lies now."""
        folder = f"{self._root}/{_ASIDE}"
        if self._is_local:
            _make_private(Path(folder))
        self._files.move(self._path(day, name), f"{folder}/{name}")
        return f"{self.uri}/{_ASIDE}/{name}"

    def remove(self, day: dt.date, name: str) -> None:
        """Delete a part."""
        self._files.delete_file(self._path(day, name))

    def _path(self, day: dt.date, name: str) -> str:
        return f"{self._root}/dt={day}/{name}"

    @property
    def _is_local(self) -> bool:
        return self.uri.startswith("/")

    @property
    def _files(self) -> fs.FileSystem:
        return self._resolved[0]

    @property
    def _root(self) -> str:
        return self._resolved[1]

    @cached_property
    def _resolved(self) -> tuple[fs.FileSystem, str]:
        # Asks the object store for the bucket's region: not before it is needed.
        files, root = fs.FileSystem.from_uri(self.uri)
        return files, root.rstrip("/")


def part_store(settings: Settings) -> PartStore:
    """Return where the settings' project delivers its parts."""
    return PartStore(settings.serving.log.uri or str(settings.home / "prediction_log" / settings.project))


def spool_folder(settings: Settings) -> Path:
    """Return where the settings' project writes its parts."""
    return Path(settings.serving.log.spool or settings.home / "prediction_log_spool" / settings.project)


def deliver_spool(spool: Path, store: PartStore) -> int:
    """Deliver every part that is finished, also those of processes that died, and return how many there were.

    Raises:
        OSError: The store refuses or does not answer; what was not delivered stays in the spool.
    """
    delivered = 0
    for part in finished(spool):
        store.put(part)
        delivered += 1
    return delivered


def _move(part: Path, target: Path) -> None:
    _make_private(target.parent)
    if target.parent.stat().st_dev == part.stat().st_dev:
        part.rename(target)
        return
    scratch = target.with_name(f".{target.name}")
    scratch.touch(mode=0o600)
    shutil.copyfile(part, scratch)
    scratch.rename(target)
    part.unlink()


def _make_private(folder: Path) -> None:
    # The mode of mkdir is the last folder's alone.
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
