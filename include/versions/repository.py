"""The DVC repository of one project: a folder with DVC's cache and the latest export of the raw data, and a remote.

The repository does not use Git. The revision is DVC's checksum of the exported folder, so equal raw data has the same
revision everywhere. A tag of the training run records the revision. docs/decisions/0004-dvc-without-git.md gives the
reasons.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec
from filelock import FileLock
from pydantic import ValidationError

from include.errors import ChurnflowError
from include.local_files import write_atomically
from include.logs import get_logger
from include.provenance.erasure import read_erasure, sign_erasure
from include.settings import Settings
from include.sources.storage import can_answer_later, is_access_failure
from include.training.data.dataset import POINTER_FILE, RAW_FOLDER, DataVersion, pointer

if TYPE_CHECKING:
    from dvc.repo import Repo

log = get_logger(__name__)

_REMOTE = "store"
_ERASURES = "erasures"


class VersionError(ChurnflowError):
    """A version of raw data cannot be created, pushed or pulled."""


class UnreachableRemoteError(VersionError):
    """The storage of the versions does not answer."""

    can_retry = True


class Repository:
    """The versions of the raw data of one project.

    Args:
        folder: The folder of the repository; it is created by the first write.
        remote: A folder, or an object-store address whose credentials are in the environment.
        public_key: The file of the public key that must have signed the records of erasures; None accepts any record.
    """

    def __init__(self, folder: Path, remote: str, public_key: Path | None = None) -> None:
        self.folder = folder
        self.remote = remote
        self._public_key = public_key

    @property
    def raw(self) -> Path:
        """The folder of raw data that ``add`` stores."""
        return self.folder / RAW_FOLDER

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the repository, which is released when its process ends for any reason."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "lock"):
            # This folder holds only the state of running commands, which a killed command may have damaged.
            shutil.rmtree(self.folder / ".dvc" / "tmp", ignore_errors=True)
            yield

    def add(self, tables: dict[str, int]) -> DataVersion:
        """Store the content of ``raw`` as a version. The caller must hold the lock.

        Args:
            tables: The Delta versions from which the raw data was exported.

        Raises:
            VersionError: DVC cannot read or store a file.
        """
        with dvc_errors("The raw data cannot be stored", self.folder):
            output = self._open(self.folder).add(str(self.raw))[0].outs[0]
        version = DataVersion(
            revision=output.hash_info.value.removesuffix(".dir"),
            remote=self.remote,
            files=output.meta.nfiles,
            bytes=output.meta.size,
            tables=tables,
        )
        # The record is written last, so that every listed version is complete.
        write_atomically(self._record(version.revision), version.model_dump_json(indent=2) + "\n")
        return version

    def versions(self) -> list[DataVersion]:
        """Return the versions created in this repository, the latest last."""
        files = sorted(self.folder.glob("revisions/*.json"), key=lambda file: file.stat().st_mtime_ns)
        return [DataVersion.model_validate_json(file.read_bytes()) for file in files]

    def version(self, revision: str) -> DataVersion:
        """Return a version created in this repository; after an erasure from it, the version that replaced it.

        Raises:
            VersionError: The version was not created here.
        """
        try:
            return DataVersion.model_validate_json(self._record(self.current(revision)).read_bytes())
        except (OSError, ValidationError) as error:
            raise VersionError(
                f"Revision {revision} was not created here.",
                where=str(self.folder),
                remedy="Name a revision that `python -m include.versions list` prints.",
            ) from error

    def current(self, revision: str) -> str:
        """Return the revision that replaced a revision in the remote because of erasures, or the revision itself.

        Raises:
            ProvenanceError: The record of an erasure is damaged, or is not signed with the public key.
            VersionError: The remote does not answer.
        """
        with dvc_errors(f"The erasures from revision {revision} cannot be read", self.remote):
            files, root = fsspec.url_to_fs(self.remote)
            while files.exists(record := f"{root}/{_ERASURES}/{revision}.json"):
                revision = read_erasure(files.cat_file(record), revision, self._public_key, record)
        return revision

    def replace(self, revision: str, by: str, bytes_removed: int, signing_key: Path | None) -> None:
        """Record that an erasure replaced a version by another one, which the cache and the remote contain.

        Args:
            revision: The revision with the erased rows.
            by: The revision without them.
            bytes_removed: The difference of the sizes of their files.
            signing_key: The file of the private key that signs the record; None leaves it unsigned.

        Raises:
            ProvenanceError: The key cannot be read.
            VersionError: The remote does not answer.
        """
        envelope = sign_erasure(revision, by, signing_key)
        with dvc_errors(f"The erasure from revision {revision} cannot be recorded", self.remote):
            files, root = fsspec.url_to_fs(self.remote)
            files.makedirs(f"{root}/{_ERASURES}", exist_ok=True)
            files.pipe_file(f"{root}/{_ERASURES}/{revision}.json", envelope.encode())
        if (record := self._record(revision)).is_file():
            old, created = DataVersion.model_validate_json(record.read_bytes()), record.stat().st_mtime_ns
            new = old.model_copy(update={"revision": by, "bytes": old.bytes - bytes_removed})
            write_atomically(self._record(by), new.model_dump_json(indent=2) + "\n")
            os.utime(self._record(by), ns=(created, created))  # the versions are listed in this order
            record.unlink()

    def forget(self, revision: str) -> None:
        """Delete the record of a version whose files were deleted."""
        self._record(revision).unlink(missing_ok=True)

    def push(self, revision: str) -> int:
        """Copy the files of a version that the remote lacks, and return their number.

        Raises:
            VersionError: The revision was not created here, or the remote cannot be written to.
        """
        revision = self.version(revision).revision
        with self.locked(), dvc_errors(f"Revision {revision} cannot be pushed", self.remote):
            write_atomically(self.folder / POINTER_FILE, pointer(revision))
            return int(self._open(self.folder).push(str(self.folder / POINTER_FILE)))

    def missing_files(self, revision: str) -> int:
        """Return the number of files of a version, or of the version that replaced it, that the remote lacks.

        Raises:
            ProvenanceError: The record of an erasure is damaged, or is not signed with the public key.
            VersionError: The remote does not have the version, or does not answer.
        """
        from dvc_data.hashfile.hash_info import HashInfo
        from dvc_data.hashfile.tree import Tree

        revision = self.current(revision)
        problem = f"Revision {revision} cannot be read"
        # DVC's own status takes the presence of the list for the presence of all its files.
        with tempfile.TemporaryDirectory(prefix="churn-remote-") as scratch, dvc_errors(problem, self.remote):
            remote = self._open(Path(scratch)).cloud.get_remote_odb(_REMOTE)
            tree = Tree.load(remote, HashInfo("md5", f"{revision}.dir"))
            files = {checksum.value for _, _, checksum in tree}
            return len(files - set(remote.oids_exist(list(files))))

    def pull(self, revision: str, into: Path) -> Path:
        """Fetch a version from the remote into the new folder ``<into>/bronze``, and return this folder.

        The checksum of every file is verified. Only the remote is used, and a failure leaves no files behind. After an
        erasure from the version, the version that replaced it is fetched.

        Args:
            revision: The revision.
            into: The parent of the new folder.

        Raises:
            VersionError: The remote does not have the revision, has a damaged file, or does not answer.
            ProvenanceError: The record of an erasure is damaged, or is not signed with the public key.
        """
        target = into / RAW_FOLDER
        if target.exists():
            raise VersionError("The target folder exists.", where=str(target), remedy="Name an empty folder.")
        current = self.current(revision)
        into.mkdir(parents=True, exist_ok=True)
        problem = f"Revision {revision} cannot be pulled: it is missing, or a file of it is damaged"
        with tempfile.TemporaryDirectory(prefix=".pull-", dir=into) as scratch, dvc_errors(problem, self.remote):
            root = Path(scratch)
            (root / POINTER_FILE).write_text(pointer(current))
            self._open(root).pull(str(root / POINTER_FILE))
            (root / RAW_FOLDER).rename(target)
        return target

    def _record(self, revision: str) -> Path:
        return self.folder / "revisions" / f"{revision}.json"

    def _open(self, root: Path) -> Repo:
        # DVC takes a second to import, and most commands do not need it.
        from dvc.config import Config
        from dvc.repo import Repo

        settings = root / ".dvc"
        (settings / "tmp").mkdir(parents=True, exist_ok=True)
        settings.chmod(0o700)  # by default every user may write to DVC's state, which DVC unpickles
        with Config(str(settings), validate=False).edit("repo") as config:
            # Every option is set, so that the user's own DVC configuration has no effect.
            config["core"] = {
                "no_scm": True,
                "analytics": False,
                "check_update": False,
                "remote": _REMOTE,
                "site_cache_dir": str(settings / "site"),
            }
            config["cache"] = {"dir": str(settings / "cache"), "type": "reflink,hardlink,copy"}
            config["remote"] = {_REMOTE: {"url": self.remote, "verify": True}}
        return Repo(str(root))


def open_repository(settings: Settings) -> Repository:
    """Return the repository of the configured project."""
    home = settings.home / "versions"
    remote = settings.versions.remote or str(home / "remote")
    address = f"{remote.rstrip('/')}/{settings.project}"
    return Repository(home / settings.project, address, settings.provenance.public_key)


@contextmanager
def dvc_errors(what: str, where: object) -> Iterator[None]:
    """Raise a ``VersionError`` in place of the errors of DVC and of the storage.

    Args:
        what: The problem, as the beginning of a sentence.
        where: The address.

    Raises:
        VersionError: The block raised such an error.
    """
    from dvc.exceptions import DvcException, FileTransferError

    try:
        yield
    except Exception as error:
        if not isinstance(error, DvcException) and not is_access_failure(error):
            raise
        lost = isinstance(error, FileTransferError) or (is_access_failure(error) and can_answer_later(error))
        kind = UnreachableRemoteError if lost else VersionError
        raise kind(
            f"{what} ({type(error).__name__}).",
            where=str(where),
            remedy="Check that the address exists and that this process has access; DVC's message is in the log.",
        ) from error
