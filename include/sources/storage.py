"""Daily files in a folder or below an object-store prefix, listed and opened through fsspec."""

from __future__ import annotations

import datetime as dt
import glob
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from include.sources.errors import SourceConnectionError, UnreadableFileError

_DAY = "{day}"


@dataclass(frozen=True)
class StoredFile:
    """One file: its path or address, and its bytes."""

    uri: str
    size: int

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self.uri.rsplit("/", 1)[-1]


class DailyFiles:
    """The files behind one address with ``{day}`` in it.

    Args:
        address: A path, or an address that fsspec knows.

    Raises:
        SourceConnectionError: No file system answers for such an address.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        try:
            self.filesystem, self._pattern = fsspec.url_to_fs(address)
        except (ValueError, ImportError) as error:
            raise SourceConnectionError(
                "The address is of a kind that cannot be read.",
                where=address,
                remedy="Use a path, s3://, or an fsspec protocol whose package is installed.",
            ) from error

    @property
    def is_local(self) -> bool:
        """Whether the files lie in a folder of this machine."""
        return isinstance(self.filesystem, LocalFileSystem)

    @property
    def connector(self) -> str:
        """How the files are reached, in words."""
        return "folder" if self.is_local else f"object store ({self._protocol})"

    @property
    def authentication(self) -> str:
        """How this process proves who it is, in words and without the proof."""
        if self.is_local:
            return "none: file permissions"
        return _aws_authentication() if self._protocol == "s3" else f"that of the {self._protocol} client"

    @property
    def _protocol(self) -> str:
        protocol = self.filesystem.protocol
        return protocol if isinstance(protocol, str) else str(protocol[0])

    def list(self) -> dict[dt.date, StoredFile]:
        """Return the files that are there, by day: one listing, however many they are.

        Raises:
            SourceConnectionError: The folder or object store cannot be listed.
        """
        pattern = glob.escape(self._pattern).replace(_DAY, "????-??-??")
        self.filesystem.invalidate_cache()  # a listing that is remembered would hide what arrived since
        with self._reachable():
            found: dict[str, dict[str, Any]] = self.filesystem.glob(pattern, detail=True)
            if not found:
                self._require_folder()
        named = re.compile(re.escape(self._pattern).replace(re.escape(_DAY), r"(\d{4}-\d\d-\d\d)", 1))
        files = [path for path, info in found.items() if info["type"] == "file"]
        days = {path: match[1] for path in files if (match := named.fullmatch(path))}
        return {dt.date.fromisoformat(day): self._stored(path, found[path]) for path, day in days.items()}

    def uri(self, day: dt.date) -> str:
        """Return the address that the file of ``day`` has when it is there."""
        return self._uri(self._pattern.replace(_DAY, str(day)))

    @contextmanager
    def open(self, file: StoredFile) -> Iterator[IO[bytes]]:
        """Open a file for reading, decompressed when its name says that it is compressed.

        Raises:
            UnreadableFileError: It may not be opened, or its storage does not answer.
        """
        try:
            stream = self.filesystem.open(file.uri, "rb", compression="infer")
        except Exception as error:
            if not is_access_failure(error):
                raise
            raise no_access(file.uri, error) from error
        with stream:
            yield stream

    def _require_folder(self) -> None:
        # A search passes over a folder that it may not read; listing the folder says so.
        with suppress(FileNotFoundError):
            self.filesystem.ls(self._pattern.split(_DAY)[0].rpartition("/")[0])

    def _stored(self, path: str, info: dict[str, Any]) -> StoredFile:
        return StoredFile(self._uri(path), int(info["size"]))

    def _uri(self, path: str) -> str:
        return path if self.is_local else str(self.filesystem.unstrip_protocol(path))

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not is_access_failure(error):
                raise
            raise SourceConnectionError(
                f"The files cannot be listed: {_reason(error)}.",
                where=self.address,
                remedy="Check the address, and the credentials of this process; then run the days again.",
            ) from error


def is_access_failure(error: BaseException) -> bool:
    """Return whether ``error`` is one of storage or network, and not one of the file's content."""
    # Object-store clients have exceptions of their own, which are no OSError.
    return isinstance(error, OSError) or type(error).__module__.startswith(("botocore", "aiobotocore", "aiohttp"))


def no_access(where: str, error: BaseException) -> UnreadableFileError:
    """Return the error for a file that is there and cannot be opened."""
    return UnreadableFileError(
        f"The file cannot be opened: {_reason(error)}.",
        where=where,
        remedy="Let this process read it, or wait until the storage answers; then run the days again.",
    )


def _aws_authentication() -> str:
    from botocore.session import get_session

    credentials = get_session().get_credentials()
    if credentials is None:
        return "none: anonymous"
    return f"{'role' if 'role' in credentials.method else 'access key'} ({credentials.method})"


def _reason(error: BaseException) -> str:
    # The kind alone: a client's message may quote a signed address.
    return re.sub(r"(?<!^)(?=[A-Z])", " ", type(error).__name__).lower().removesuffix(" error")
