"""The DVC repository of one project: a folder with DVC's cache and the raw data last exported, and a remote.

It has no Git: the checksum that DVC gives to the whole folder is the revision, and a training run's tag keeps it. So
there is no second history that could be lost or disagree, and the same raw data is the same revision anywhere.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock
from pydantic import ValidationError

from include.errors import ChurnflowError
from include.local_files import write_atomically
from include.logs import get_logger
from include.settings import Settings
from include.sources.storage import is_access_failure
from include.training.data.data_version import POINTER_FILE, RAW_FOLDER, DataVersion, pointer

if TYPE_CHECKING:
    from dvc.repo import Repo

log = get_logger(__name__)

_REMOTE = "store"


class VersionError(ChurnflowError):
    """A version of raw data cannot be made, kept or fetched."""


class Repository:
    """Versions of one project's raw data.

    Args:
        folder: The repository; made when it is first written to.
        remote: A folder, or an object-store address whose credentials are in the environment.
    """

    def __init__(self, folder: Path, remote: str) -> None:
        self.folder = folder
        self.remote = remote

    @property
    def raw(self) -> Path:
        """The folder of the raw data that ``add`` takes."""
        return self.folder / RAW_FOLDER

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Wait until no other process writes to the repository, and hold it; a dead process holds none."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "lock"):
            # What DVC keeps there describes running commands only, and a killed one may have left it damaged.
            shutil.rmtree(self.folder / ".dvc" / "tmp", ignore_errors=True)
            yield

    def add(self, tables: dict[str, int]) -> DataVersion:
        """Make a version of what is in ``raw``, and return it; call it with the lock held.

        Args:
            tables: The Delta versions that the raw data was taken from.

        Raises:
            VersionError: DVC cannot read or store a file.
        """
        with _dvc_errors("The raw data cannot be stored", self.folder):
            output = self._open(self.folder).add(str(self.raw))[0].outs[0]
        version = DataVersion(
            revision=output.hash_info.value.removesuffix(".dir"),
            remote=self.remote,
            files=output.meta.nfiles,
            bytes=output.meta.size,
            tables=tables,
        )
        # Written last: a version that is listed is complete.
        write_atomically(self._record(version.revision), version.model_dump_json(indent=2) + "\n")
        return version

    def versions(self) -> list[DataVersion]:
        """Return the versions made here, the latest last."""
        files = sorted(self.folder.glob("revisions/*.json"), key=lambda file: file.stat().st_mtime_ns)
        return [DataVersion.model_validate_json(file.read_bytes()) for file in files]

    def version(self, revision: str) -> DataVersion:
        """Return a version made here.

        Raises:
            VersionError: It was not made here.
        """
        try:
            return DataVersion.model_validate_json(self._record(revision).read_bytes())
        except (OSError, ValidationError) as error:
            raise VersionError(
                f"Revision {revision} was not made here.",
                where=str(self.folder),
                remedy="Name one that `python -m include.versions list` shows.",
            ) from error

    def push(self, revision: str) -> int:
        """Copy what the remote lacks of ``revision`` to it, and return how many files that were.

        Raises:
            VersionError: The revision was not made here, or the remote cannot be written to.
        """
        self.version(revision)
        with self.locked(), _dvc_errors(f"Revision {revision} cannot be pushed", self.remote):
            write_atomically(self.folder / POINTER_FILE, pointer(revision))
            return int(self._open(self.folder).push(str(self.folder / POINTER_FILE)))

    def pull(self, revision: str, into: Path) -> Path:
        """Fetch ``revision`` from the remote into the new folder ``into``/bronze, and return that.

        Every file is compared with its checksum. Nothing but the remote is used, and nothing stays behind on failure.

        Raises:
            VersionError: The remote does not have it, holds a damaged file, or does not answer.
        """
        target = into / RAW_FOLDER
        if target.exists():
            raise VersionError("There is something already.", where=str(target), remedy="Name an empty folder.")
        into.mkdir(parents=True, exist_ok=True)
        problem = f"Revision {revision} cannot be pulled: it is not there, or a file of it is damaged"
        with tempfile.TemporaryDirectory(prefix=".pull-", dir=into) as scratch, _dvc_errors(problem, self.remote):
            root = Path(scratch)
            (root / POINTER_FILE).write_text(pointer(revision))
            self._open(root).pull(str(root / POINTER_FILE))
            (root / RAW_FOLDER).rename(target)
        return target

    def _record(self, revision: str) -> Path:
        return self.folder / "revisions" / f"{revision}.json"

    def _open(self, root: Path) -> Repo:
        # DVC takes a second to import, and is needed by few.
        from dvc.config import Config
        from dvc.repo import Repo

        settings = root / ".dvc"
        (settings / "tmp").mkdir(parents=True, exist_ok=True)
        settings.chmod(0o700)  # DVC lets every user of the machine write to its state, which it unpickles
        with Config(str(settings), validate=False).edit("repo") as config:
            # Everything is said here, so that a person's own DVC configuration changes nothing.
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
    """Return the repository of the settings' project."""
    home = settings.home / "versions"
    remote = settings.versions.remote or str(home / "remote")
    return Repository(home / settings.project, f"{remote.rstrip('/')}/{settings.project}")


@contextmanager
def _dvc_errors(what: str, where: object) -> Iterator[None]:
    from dvc.exceptions import DvcException

    try:
        yield
    except Exception as error:
        # Object-store clients have exceptions of their own.
        if not isinstance(error, DvcException) and not is_access_failure(error):
            raise
        raise VersionError(
            f"{what} ({type(error).__name__}).",
            where=str(where),
            remedy="Check that the address exists, that this process may use it, and DVC's message in the log.",
        ) from error
