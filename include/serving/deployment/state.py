"""The serving state: the desired Bentos, and their status as the runner reports it.

One SQLite database, ``state.db``, contains one row for each rollout. Deployments write the desired state; the runner,
which may be in another container on the same machine, reads the desired state and writes the status.

The newest row is the desired state. This row is pending until its rollout is committed or undone. If a rollout is
interrupted, the last committed row states which Bento served. The next rollout replaces a pending row. Of two
rollouts, the rollout that was requested later takes effect, even if it began before the other.
"""

from __future__ import annotations

import datetime as dt
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from include.errors import ChurnflowError
from include.local_files import PRIVATE
from include.serving.deployment.former_state import former_versions
from include.settings import Settings, require_project
from include.training.model.bundle import Bundle

FILE = "state.db"
Role = Literal["serve", "shadow"]
Phase = Literal["starting", "serving", "failed"]

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_POLL_SECONDS = 0.1
_LOCK_SECONDS = 5.0
_TRANSIENT = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
SCHEMA = """
CREATE TABLE IF NOT EXISTS rollouts (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    role TEXT NOT NULL,
    bento TEXT NOT NULL,
    model_version TEXT NOT NULL,
    path TEXT NOT NULL,
    project TEXT NOT NULL,
    committed INTEGER NOT NULL DEFAULT FALSE, -- the time in ms since 1970; 0 while the row is pending
    requested INTEGER NOT NULL DEFAULT 0, -- the time in ms since 1970
    phase TEXT,
    reason TEXT,
    reported_at TEXT
)
"""


class ServingStateError(ChurnflowError):
    """The serving state is damaged, or is not accessible."""


class UnavailableStateError(ServingStateError):
    """The serving state cannot be read or written now: it is locked, or the disk is full."""

    can_retry = True


class SupersededError(ChurnflowError):
    """A later rollout has replaced this rollout."""


@dataclass(frozen=True)
class BentoReference:
    """A Bento on disk.

    Attributes:
        bento: The Bento's version.
        model_version: The registry's version of the model inside.
        path: The Bento's folder.
        project: The project of the model.
    """

    bento: str
    model_version: str
    path: str
    project: str

    @property
    def bundle(self) -> Path:
        """The folder of the model's bundle in the Bento."""
        return Path(self.path) / "src" / "bundle"

    def load_bundle(self) -> Bundle:
        """Return the model's bundle in the Bento.

        Raises:
            BundleError: The bundle is damaged or missing.
            ProjectMismatchError: The bundle is a model of another project.
        """
        bundle = Bundle.load(self.bundle)
        require_project(bundle.contract.project, self.project, what="The model in the Bento", where=self.path)
        return bundle

    def as_dict(self) -> dict[str, str]:
        """Return the reference as plain JSON types, for XCom."""
        return asdict(self)


@dataclass(frozen=True)
class Revision:
    """One rollout of a Bento; a Bento that is rolled out again gets a new number."""

    number: int
    bento: BentoReference


@dataclass(frozen=True)
class Status:
    """The status of a revision, as the runner reported it.

    Attributes:
        phase: ``starting``, ``serving`` or ``failed``; after a failure the former Bento still serves.
        reason: The reason of a failure.
    """

    phase: Phase
    reason: str


class ServingState:
    """The state of one project's deployment.

    Every method raises ``ProjectMismatchError`` if the database contains Bentos of another project.

    Attributes:
        where: The location of the state, for messages.

    Args:
        serving_dir: The folder of the database, with the project's name, on a local disk: SQLite's locks do not work on
            network file systems.
    """

    def __init__(self, serving_dir: Path) -> None:
        self._path = serving_dir / FILE
        self.where = str(self._path)
        self._project = serving_dir.name

    def desired(self, role: Role = "serve") -> Revision | None:
        """Return the revision that the runner should serve in a role; None if there is none.

        Args:
            role: ``serve`` for the Bento that answers, ``shadow`` for its shadow.

        Raises:
            ServingStateError: The database cannot be read.
        """
        return self._newest("role = ?", role)

    def served(self) -> BentoReference | None:
        """Return the Bento that serves; during a rollout, the former Bento until the new Bento answers.

        Raises:
            ServingStateError: The database cannot be read.
        """
        revision = self._newest("role = 'serve' AND (committed OR phase = 'serving')")
        return revision.bento if revision else None

    def served_since(self) -> dt.datetime | None:
        """Return the time of the last committed rollout, in UTC; None if there was none.

        Raises:
            ServingStateError: The database cannot be read.
        """
        rows = self._select("SELECT max(committed) FROM rollouts WHERE role = 'serve' AND committed")
        return _EPOCH + dt.timedelta(milliseconds=rows[0][0]) if rows and rows[0][0] else None

    def served_at(self, time: dt.datetime) -> Revision | None:
        """Return the revision that served at a time in the past; None if there was none.

        Raises:
            ServingStateError: The database cannot be read.
        """
        return self._newest("role = 'serve' AND committed AND committed <= ?", _milliseconds(time))

    def newest_of(self, model_version: str) -> Revision | None:
        """Return the newest revision of a version that has come into service; None if there is none.

        Raises:
            ServingStateError: The database cannot be read.
        """
        return self._newest("role = 'serve' AND committed AND model_version = ?", model_version)

    def before(self, revision: Revision) -> BentoReference | None:
        """Return the Bento that served before a revision; None if there was none.

        Raises:
            ServingStateError: The database cannot be read.
        """
        values = (revision.number, revision.bento.bento)
        former = self._newest("role = 'serve' AND committed AND number < ? AND bento != ?", *values)
        return former.bento if former else None

    def previous(self) -> BentoReference | None:
        """Return the Bento that served before the desired Bento; None for the first Bento.

        Raises:
            ServingStateError: The database cannot be read.
        """
        desired = self.desired()
        former = desired and self._newest("role = 'serve' AND committed AND bento != ?", desired.bento.bento)
        return former.bento if former else None

    def last_rollback(self) -> dt.datetime | None:
        """Return the time at which an earlier model version last replaced a later one; None if none did.

        Raises:
            ServingStateError: The database cannot be read.
        """
        query = "SELECT model_version, committed FROM rollouts WHERE role = 'serve' AND committed ORDER BY number"
        last, former, served = None, None, set()
        for version, committed in self._select(query):
            if version in served and version != former:
                last = _EPOCH + dt.timedelta(milliseconds=committed)
            served.add(version)
            former = version
        return last

    def bentos_in_use(self) -> set[str]:
        """Return the folders' names of the Bentos that serve, that served before, or that a rollout may return to.

        Raises:
            ServingStateError: The database cannot be read.
        """
        committed = self._newest("role = 'serve' AND committed")
        used = [self.desired(), self.desired("shadow"), committed]
        if committed:
            used.append(self._newest("role = 'serve' AND committed AND bento != ?", committed.bento.bento))
        return {Path(revision.bento.path).name for revision in used if revision}

    def begin(
        self,
        candidate: BentoReference,
        role: Role = "serve",
        *,
        requested: dt.datetime | None = None,
        replaces: str | None = None,
    ) -> Revision:
        """Make ``candidate`` the desired Bento, pending until ``commit`` or ``undo``, in place of a pending rollout.

        Args:
            candidate: The Bento.
            role: ``serve`` for a Bento that answers, ``shadow`` for a shadow.
            requested: The time at which the rollout was requested; now by default.
            replaces: The model version that must be in service; None allows any version.

        Raises:
            ProjectMismatchError: The candidate is a model of another project; the state is unchanged.
            SupersededError: A rollout that was requested later has begun, or another version than ``replaces`` is in
                service; the state is unchanged.
            ServingStateError: The database cannot be written; the state is unchanged.
        """
        require_project(candidate.project, self._project, what="The Bento", where=candidate.path)
        since = _milliseconds(requested or dt.datetime.now(dt.UTC))
        with self._transaction() as database:
            later = database.execute(
                "SELECT bento FROM rollouts WHERE role = ? AND requested > ? ORDER BY number DESC", (role, since)
            ).fetchone()
            if later:
                raise self._superseded(f"A rollout that was requested later has begun, of Bento {later[0]}")
            served = database.execute(
                "SELECT model_version FROM rollouts WHERE role = ? AND committed ORDER BY number DESC", (role,)
            ).fetchone()
            if replaces is not None and served != (replaces,):
                found = f"version {served[0]}" if served else "no model"
                raise self._superseded(f"The endpoint no longer serves version {replaces}; it serves {found}")
            database.execute("DELETE FROM rollouts WHERE role = ? AND NOT committed", (role,))
            number = database.execute(
                "INSERT INTO rollouts (role, bento, model_version, path, project, requested) VALUES (?, ?, ?, ?, ?, ?)",
                (role, candidate.bento, candidate.model_version, candidate.path, candidate.project, since),
            ).lastrowid
        return Revision(int(number or 0), candidate)

    def commit(self, revision: Revision) -> None:
        """Keep a pending revision as the desired revision.

        Args:
            revision: The revision that ``begin`` returned.

        Raises:
            SupersededError: Another rollout has begun since.
            ServingStateError: The database cannot be written; the revision is still pending.
        """
        now = _milliseconds(dt.datetime.now(dt.UTC))
        self._change_pending("UPDATE rollouts SET committed = ?", revision, now)

    def undo(self, revision: Revision) -> None:
        """Remove a pending revision; the revision before it becomes the desired revision again.

        Args:
            revision: The revision that ``begin`` returned.

        Raises:
            SupersededError: Another rollout has begun since; its Bento stays the desired Bento.
            ServingStateError: The database cannot be written; the next rollout replaces the pending revision.
        """
        self._change_pending("DELETE FROM rollouts", revision)

    def end_shadow(self) -> BentoReference | None:
        """Remove the shadow from the desired state, and return its Bento; None without a shadow.

        Raises:
            ServingStateError: The database cannot be written; the state is unchanged.
        """
        shadow = self.desired("shadow")
        if shadow is not None:
            with self._transaction() as database:
                database.execute("DELETE FROM rollouts WHERE role = 'shadow'")
        return shadow.bento if shadow else None

    def report(self, revision: Revision, phase: Phase, reason: str = "") -> None:
        """Record the status of ``revision``; the status of a revision that was undone is ignored.

        Args:
            revision: The revision.
            phase: Its phase.
            reason: The reason of a failure.

        Raises:
            ServingStateError: The database cannot be written.
        """
        now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
        with self._transaction() as database:
            values = (phase, reason, now, revision.number)
            database.execute("UPDATE rollouts SET phase = ?, reason = ?, reported_at = ? WHERE number = ?", values)

    def wait_for(self, revision: Revision, seconds: float) -> Status | None:
        """Return the status of ``revision`` as soon as it serves or has failed, or its status after ``seconds``.

        Args:
            revision: A revision.
            seconds: The longest wait.

        Returns:
            The status; None when no runner has reported a status, or when a later revision replaced this revision.

        Raises:
            ServingStateError: The database cannot be read.
        """
        deadline = time.monotonic() + seconds
        while True:
            rows = self._select("SELECT phase, reason FROM rollouts WHERE number = ?", revision.number)
            status = Status(*rows[0]) if rows and rows[0][0] else None
            if not rows or (status and status.phase != "starting") or time.monotonic() > deadline:
                return status
            time.sleep(_POLL_SECONDS)

    def _newest(self, condition: str, *values: object) -> Revision | None:
        columns = "number, bento, model_version, path, project"
        rows = self._select(f"SELECT {columns} FROM rollouts WHERE {condition} ORDER BY number DESC LIMIT 1", *values)  # noqa: S608 - no condition is made from input
        return Revision(rows[0][0], BentoReference(*rows[0][1:])) if rows else None

    def _change_pending(self, statement: str, revision: Revision, *values: int) -> None:
        with self._transaction() as database:
            pending = (*values, revision.number)
            changed = database.execute(f"{statement} WHERE number = ? AND NOT committed", pending).rowcount
        if not changed:
            desired = self.desired()
            found = desired.bento.bento if desired else "none"
            raise self._superseded(f"Another rollout has begun since; the desired Bento is {found}")

    def _superseded(self, what: str) -> SupersededError:
        return SupersededError(
            f"{what}.",
            where=self.where,
            remedy="Wait until that rollout has ended, and deploy again if another version should serve.",
        )

    def _select(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            self._path.stat()
        except FileNotFoundError:
            self._require_upgrade()
            return []
        except OSError as error:
            raise self._error("read", error) from error
        with self._connection("read") as database:
            return database.execute(query, values).fetchall()

    def _require_upgrade(self) -> None:
        if former_versions(self._path.parent):
            raise ServingStateError(
                "The serving state is that of release 0.1.0.",
                where=str(self._path.parent.parent),
                remedy="Run `python -m include.upgrade`.",
            )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._connection("written") as database:
            database.execute("BEGIN IMMEDIATE")
            yield database
            database.execute("COMMIT")

    @contextmanager
    def _connection(self, action: str) -> Iterator[sqlite3.Connection]:
        """Yield a connection; its end rolls back an unfinished transaction."""
        try:
            if not self._path.exists():
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._path.touch(PRIVATE)
            with closing(sqlite3.connect(self._path, timeout=_LOCK_SECONDS, isolation_level=None)) as database:
                database.execute(SCHEMA)
                foreign = "SELECT project FROM rollouts WHERE project != ? LIMIT 1"
                for (found,) in database.execute(foreign, (self._project,)).fetchall():
                    require_project(found, self._project, what="The serving state", where=self._path)
                yield database
        except (sqlite3.Error, OSError) as error:
            raise self._error(action, error) from error

    def _error(self, action: str, error: Exception) -> ServingStateError:
        # The low byte of an extended code is the primary code.
        transient = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF in _TRANSIENT
        kind = UnavailableStateError if transient else ServingStateError
        return kind(
            f"The serving state cannot be {action} ({error}).",
            where=self.where,
            remedy="Check the free space and the owner of the folder; remove a damaged file and deploy again.",
        )


def open_state(settings: Settings) -> ServingState:
    """Return the serving state of a deployment: on this machine, or of the Deployment on Kubernetes.

    Args:
        settings: The deployment.

    Raises:
        ClusterError: There is no configuration of a cluster.
    """
    if settings.serving.backend == "runner":
        return ServingState(settings.serving_dir)
    from include.serving.deployment.cluster import EndpointDeployment  # takes a second to import
    from include.serving.deployment.cluster_state import ClusterState

    return ClusterState(EndpointDeployment(settings.serving.kubernetes), settings.project)


def _milliseconds(time: dt.datetime) -> int:
    return (time - _EPOCH) // dt.timedelta(milliseconds=1)
