"""The files of DVC's cache and remote, which are named by their checksums."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import fsspec
from fsspec.implementations.local import LocalFileSystem

from include.local_files import write_atomically
from include.versions.repository import Repository

LIST = ".dir"
"""The end of the names of lists: a version is a JSON list of ``md5`` and ``relpath``."""


class ObjectStore:
    """The files in DVC's cache or in the remote.

    Args:
        address: The address of the cache or of the remote.

    Attributes:
        names: The path of each file by its name, which is the checksum of its content.
    """

    def __init__(self, address: str) -> None:
        self._files, self._root = fsspec.url_to_fs(f"{address}/files/md5")
        self._files.invalidate_cache()
        paths = self._files.find(self._root) if self._files.exists(self._root) else []
        self.names: dict[str, str] = {"".join(PurePosixPath(path).parts[-2:]): path for path in paths}

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        return bytes(self._files.cat_file(self.names[name]))

    def write(self, name: str, content: bytes) -> None:
        """Store a file; it exists only when it is complete."""
        path = f"{self._root}/{name[:2]}/{name[2:]}"
        if isinstance(self._files, LocalFileSystem):
            write_atomically(Path(path), content)
        else:
            self._files.pipe_file(path, content)

    def remove(self, names: Iterable[str]) -> None:
        """Delete files; those that are not in this store are left out."""
        for name in names:
            if (path := self.names.pop(name, None)) is not None:
                self._files.rm_file(path)


def open_stores(repository: Repository) -> list[ObjectStore]:
    """Return the cache and the remote of a repository; a store without files is left out."""
    addresses = (str(repository.folder / ".dvc" / "cache"), repository.remote)
    return [store for address in addresses if (store := ObjectStore(address)).names]
