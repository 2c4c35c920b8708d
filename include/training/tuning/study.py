"""The study that the workers of a search share: the finished trials, and the claims on unfinished ones.

The study is stored in a journal file beside the data set, or in a database. A trial is written once, after it has
ended, so a killed worker leaves no partial trial. A trial's content depends on its number and not on its worker: a
second trial of the same number is equal to the first and is ignored.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import FrozenTrial
from pydantic import SecretStr
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random

from include.errors import ChurnflowError
from include.logs import get_logger
from include.settings import DatabaseTimeouts
from include.sources.postgres_timeouts import limit_postgres_waits, refuses_connection

log = get_logger(__name__)

NUMBER = "number"
"""The trial attribute with the trial's number in the search. Optuna's own number is the order of completion."""
_CLAIM = "claim "
_NO_ANSWER = (OperationalError, InterfaceError)


class StudyError(ChurnflowError):
    """The study of a search is damaged, or its database refuses access."""


class UnreachableStudyError(StudyError):
    """The database of a study does not answer."""

    can_retry = True


class SharedStudy:
    """The finished trials of a search, and the workers' claims on trial numbers.

    Args:
        name: Identifies all inputs of a trial; see ``Search.name``.
        journal: The journal file, used without a database.
        database: The SQLAlchemy URL of the database; empty if there is none.
        timeouts: The time-outs of the database; None stands for the defaults.

    Raises:
        StudyError: The journal is damaged, or the database cannot be used. All methods raise it, too.
    """

    def __init__(self, name: str, journal: Path, database: SecretStr, timeouts: DatabaseTimeouts | None = None) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        url = database.get_secret_value()
        self._place = "setting CHURN_TRAINING__TUNING_STORAGE" if url else str(journal)
        with self._study_errors():
            storage = _database_storage(url, timeouts or DatabaseTimeouts()) if url else _journal_storage(journal)
            self._study = optuna.create_study(
                study_name=name, storage=storage, direction="maximize", load_if_exists=True
            )

    def finished(self) -> dict[int, FrozenTrial]:
        """Return the finished trials by number, sorted; of two trials of one number, the first."""
        by_number: dict[int, FrozenTrial] = {}
        with self._study_errors():
            for trial in self._study.get_trials(deepcopy=False):
                by_number.setdefault(trial.user_attrs[NUMBER], trial)
        return dict(sorted(by_number.items()))

    def add(self, trial: FrozenTrial) -> None:
        """Write a finished trial atomically."""
        with self._study_errors():
            self._study.add_trial(trial)

    def claims(self) -> dict[int, int]:
        """Return the last worker that claimed each trial, by trial number."""
        with self._study_errors():
            attributes = self._study.user_attrs
        return {int(key.removeprefix(_CLAIM)): worker for key, worker in attributes.items() if key.startswith(_CLAIM)}

    def claim(self, number: int, worker: int) -> None:
        """Claim a trial, so that other workers choose other trials. No result depends on a claim.

        Args:
            number: The trial's number.
            worker: The worker's number.
        """
        with self._study_errors():
            self._study.set_user_attr(f"{_CLAIM}{number}", worker)

    @contextmanager
    def _study_errors(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, StorageInternalError, ImportError) as error:
            # The original text is dropped: it can contain the URL with its password.
            # Optuna wraps SQLAlchemy's error, and SQLAlchemy the driver's.
            failed = error.__cause__ if isinstance(error, StorageInternalError) else error
            lost = isinstance(failed, _NO_ANSWER) and not refuses_connection(str(failed))
            kind = UnreachableStudyError if lost else StudyError
            raise kind(
                f"The database of the trials cannot be used ({type(error).__name__}).",
                where=self._place,
                remedy="Check the address, the server, and the right to create tables; finished trials are stored.",
            ) from None
        except ValueError as error:
            raise StudyError(
                "The journal of the trials is damaged.",
                where=self._place,
                remedy="Remove the file; its trials are then run again.",
            ) from error


def _journal_storage(path: Path) -> BaseStorage:
    return JournalStorage(JournalFileBackend(str(path), _TruncatingLock(path)))


class _TruncatingLock(JournalFileSymlinkLock):
    """A lock of the journal that removes a partial last line, left by a full disk or a crash.

    Otherwise the next line would be appended to the partial line, and both would be lost.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path

    def acquire(self) -> bool:
        acquired = super().acquire()
        try:
            self._truncate_partial_line()
        except BaseException:
            self.release()
            raise
        return acquired

    def _truncate_partial_line(self) -> None:
        content = self._path.read_bytes()
        if content and not content.endswith(b"\n"):
            whole = content.rfind(b"\n") + 1
            log.warning("partial last line removed from the journal of trials", extra={"bytes_kept": whole})
            os.truncate(self._path, whole)


def _database_storage(url: str, timeouts: DatabaseTimeouts) -> BaseStorage:
    limit_postgres_waits(timeouts)
    tries = Retrying(
        # Of workers that start together, only one can create the tables; the others succeed on the next try.
        retry=retry_if_exception_type(DBAPIError),
        stop=stop_after_attempt(5),
        wait=wait_random(0.1, 1.0),
        reraise=True,
    )
    # One connection per transaction, since transactions are seconds or minutes apart.
    return tries(RDBStorage, url, engine_kwargs={"poolclass": NullPool, "hide_parameters": True})
