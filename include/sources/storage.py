"""List and open the daily files in a folder or below an object-store prefix, through fsspec."""

from __future__ import annotations

import datetime as dt
import errno
import glob
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from include.local_files import write_atomically
from include.sources.errors import (
    InterruptedReadError,
    SourceConnectionError,
    UnreachableStorageError,
    UnreadableFileError,
)
from include.sources.file_content import compression_of, decompressed

_DAY = "{day}"
_CONFIGURATION_ERRORS = {
    "InvalidConfigError",
    "InvalidRegionError",
    "NoRegionError",
    "ParamValidationError",
    "ProfileNotFound",
}
"""The names of botocore's errors that precede any request; botocore is imported only for object stores."""


@dataclass(frozen=True)
class StoredFile:
    """A file: its path or address, and its size in bytes."""

    uri: str
    size: int

    @property
    def name(self) -> str:
        """The name of the file without its folder."""
        return self.uri.rsplit("/", 1)[-1]


class DailyFiles:
    """The files of an address that contains ``{day}``.

    Args:
        address: A path or an fsspec address.
        compression: The compression of the files; ``infer`` takes it from their extensions.

    Raises:
        SourceConnectionError: No file system supports the address.
    """

    def __init__(self, address: str, compression: str = "infer") -> None:
        self.address = address
        self._compression = compression
        try:
            self.filesystem, self._pattern = fsspec.url_to_fs(address)
        except (ValueError, ImportError) as error:
            raise SourceConnectionError(
                "The protocol of the address is not supported.",
                where=address,
                remedy="Use a path, s3://, or an fsspec protocol with an installed package.",
            ) from error

    @property
    def is_local(self) -> bool:
        """Whether the files are in a local folder."""
        return isinstance(self.filesystem, LocalFileSystem)

    @property
    def connector(self) -> str:
        """The kind of storage, for reports."""
        return "folder" if self.is_local else f"object store ({self._protocol})"

    @property
    def authentication(self) -> str:
        """The kind of authentication, without any credential."""
        if self.is_local:
            return "none: file permissions"
        return _aws_authentication() if self._protocol == "s3" else f"credentials of the {self._protocol} client"

    @property
    def _protocol(self) -> str:
        protocol = self.filesystem.protocol
        return protocol if isinstance(protocol, str) else str(protocol[0])

    def list(self) -> dict[dt.date, StoredFile]:
        """Return the existing files by day, with a single listing.

        Raises:
            SourceConnectionError: The folder or object store cannot be listed.
        """
        pattern = glob.escape(self._pattern).replace(_DAY, "????-??-??")
        self.filesystem.invalidate_cache()  # a cached listing would hide new files
        with self._reachable():
            found: dict[str, dict[str, Any]] = self.filesystem.glob(pattern, detail=True)
            if not found:
                self._require_folder()
        escaped = re.escape(self._pattern).replace(re.escape(_DAY), r"(\d{4}-\d\d-\d\d)", 1)
        named = re.compile(escaped.replace(re.escape(_DAY), r"\1"))
        files = [path for path, info in found.items() if info["type"] == "file"]
        days = {path: match[1] for path in files if (match := named.fullmatch(path))}
        return {dt.date.fromisoformat(day): self._stored(path, found[path]) for path, day in days.items()}

    def uri(self, day: dt.date) -> str:
        """Return the address of the file of ``day``, whether or not the file exists."""
        return self._uri(self._pattern.replace(_DAY, str(day)))

    @contextmanager
    def open(self, file: StoredFile) -> Iterator[IO[bytes]]:
        """Open a file for reading; it is decompressed.

        Raises:
            UnreadableFileError: The file cannot be opened, or its storage does not answer.
            Exception: The content of the file is not of its compression.
        """
        try:
            stream = self.filesystem.open(file.uri, "rb")
        except Exception as error:
            if not is_access_failure(error):
                raise
            raise no_access(file.uri, error) from error
        with stream, decompressed(stream, self._compression_of(file)) as content:
            yield content

    def replace(self, file: StoredFile, content: bytes) -> None:
        """Replace the content of a file; a reader gets the old content or the new content.

        Args:
            file: The file.
            content: The new content, compressed as the file.

        Raises:
            Exception: The file cannot be written; it is unchanged.
        """
        if self.is_local:
            write_atomically(Path(file.uri), content, stat.S_IMODE(Path(file.uri).stat().st_mode))
        else:
            self.filesystem.pipe_file(file.uri, content)

    def delete(self, file: StoredFile) -> None:
        """Delete a file.

        Raises:
            Exception: The file cannot be deleted.
        """
        self.filesystem.rm_file(file.uri)

    def age_seconds(self, file: StoredFile) -> float:
        """Return the number of seconds since the last change of a file."""
        modified: dt.datetime = self.filesystem.modified(file.uri)
        return (dt.datetime.now(dt.UTC) - modified).total_seconds()

    def _compression_of(self, file: StoredFile) -> str:
        return compression_of(file.name) if self._compression == "infer" else self._compression

    def _require_folder(self) -> None:
        # A glob skips an unreadable folder silently; listing the folder raises the error.
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
            kind = UnreachableStorageError if can_answer_later(error) else SourceConnectionError
            raise kind(
                f"The files cannot be listed: {type(error).__name__}.",
                where=self.address,
                remedy="Check the address and the credentials of this process; then run the days again.",
            ) from error


def is_access_failure(error: BaseException) -> bool:
    """Return whether an error comes from storage or network, as opposed to the content of a file."""
    # The exceptions of object-store clients are not OSErrors.
    return isinstance(error, OSError) or type(error).__module__.startswith(("botocore", "aiobotocore", "aiohttp"))


def no_access(where: str, error: BaseException) -> UnreadableFileError:
    """Return the error for an existing file that cannot be opened.

    Args:
        where: The address of the file.
        error: The cause; only its type is quoted, since the message of a client may contain a signed address.
    """
    kind = InterruptedReadError if can_answer_later(error) else UnreadableFileError
    return kind(
        f"The file cannot be opened: {type(error).__name__}.",
        where=where,
        remedy="Grant this process read access, or wait until the storage answers; then run the days again.",
    )


def can_answer_later(error: BaseException) -> bool:
    """Return whether storage that failed with an access failure can answer the same request later."""
    refused = isinstance(error, PermissionError | FileNotFoundError | NotADirectoryError | IsADirectoryError)
    # s3fs uses EINVAL for requests that S3 refuses, such as an invalid name of a bucket.
    invalid = isinstance(error, OSError) and error.errno in (errno.EINVAL, errno.ENAMETOOLONG, errno.ELOOP)
    name = type(error).__name__
    return not (refused or invalid or name in _CONFIGURATION_ERRORS or "Credential" in name)


def _aws_authentication() -> str:
    from botocore.session import get_session

    credentials = get_session().get_credentials()
    if credentials is None:
        return "none: anonymous"
    return f"{'role' if 'role' in credentials.method else 'access key'} ({credentials.method})"
