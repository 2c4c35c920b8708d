"""The study that the workers of a search share: every finished trial, and who works on which.

It lies in a journal file beside the data set, or in a database. A trial is written once, when it has ended, so that a
worker that is killed leaves nothing half done. Which trial it is says its *slot*, a number from 0. A slot has the same
trial whoever runs it, so that a second trial of a slot changes nothing and is not counted.
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
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random

from include.errors import ChurnflowError
from include.logs import get_logger

log = get_logger(__name__)

SLOT = "slot"
_CLAIM = "claim "


class StudyError(ChurnflowError):
    """The study of a search cannot be read or written."""


class SharedStudy:
    """The finished trials of one search, and the slots that workers have claimed.

    Args:
        name: Identifies the data and everything that decides about a trial; trials of another name are not seen.
        journal: The file that keeps the study where there is no database.
        database: The SQLAlchemy URL of the database that keeps it; empty where there is none.

    Raises:
        StudyError: The journal is damaged, or the database cannot be used. So do the methods.
    """

    def __init__(self, name: str, journal: Path, database: SecretStr) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        url = database.get_secret_value()
        self._place = "setting CHURN_TRAINING__TUNING_STORAGE" if url else str(journal)
        with self._explained():
            storage = _database(url) if url else _journal(journal)
            self._study = optuna.create_study(
                study_name=name, storage=storage, direction="maximize", load_if_exists=True
            )

    def finished(self) -> dict[int, FrozenTrial]:
        """Return the finished trials by slot, in the order of the slots; of two of one slot, the first."""
        by_slot: dict[int, FrozenTrial] = {}
        with self._explained():
            for trial in self._study.get_trials(deepcopy=False):
                by_slot.setdefault(trial.user_attrs[SLOT], trial)
        return dict(sorted(by_slot.items()))

    def add(self, trial: FrozenTrial) -> None:
        """Write a finished trial, wholly or not at all."""
        with self._explained():
            self._study.add_trial(trial)

    def claims(self) -> dict[int, int]:
        """Return by slot which worker said last that it works on it."""
        with self._explained():
            said = self._study.user_attrs
        return {int(key.removeprefix(_CLAIM)): worker for key, worker in said.items() if key.startswith(_CLAIM)}

    def claim(self, slot: int, worker: int) -> None:
        """Say that ``worker`` works on ``slot``; it spares others the work, and no result depends on it."""
        with self._explained():
            self._study.set_user_attr(f"{_CLAIM}{slot}", worker)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, StorageInternalError, ImportError) as error:
            # Neither shown nor chained: the text can hold the address, and that a password.
            raise StudyError(
                f"The database that keeps the trials cannot be used ({type(error).__name__}).",
                where=self._place,
                remedy="Check the address, the server, and the right to create tables; finished trials are kept.",
            ) from None
        except ValueError as error:
            raise StudyError(
                "The file that keeps the trials is damaged.",
                where=self._place,
                remedy="Remove it; its trials are then run again.",
            ) from error


def _journal(path: Path) -> BaseStorage:
    return JournalStorage(JournalFileBackend(str(path), _WholeLinesLock(path)))


class _WholeLinesLock(JournalFileSymlinkLock):
    """A lock for the journal that cuts off what a full disk or a lost machine has left of a line.

    The next line would be appended to it, and both be lost.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path

    def acquire(self) -> bool:
        acquired = super().acquire()
        try:
            self._cut_half_line()
        except BaseException:
            self.release()
            raise
        return acquired

    def _cut_half_line(self) -> None:
        content = self._path.read_bytes()
        if content and not content.endswith(b"\n"):
            whole = content.rfind(b"\n") + 1
            log.warning("half a line cut off the journal of trials", extra={"bytes_kept": whole})
            os.truncate(self._path, whole)


def _database(url: str) -> BaseStorage:
    tries = Retrying(
        # Of workers that start together only one can create the tables; the others then find them.
        retry=retry_if_exception_type(DBAPIError),
        stop=stop_after_attempt(5),
        wait=wait_random(0.1, 1.0),
        reraise=True,
    )
    # A connection for each transaction, since there are seconds or minutes between two of them.
    return tries(RDBStorage, url, engine_kwargs={"poolclass": NullPool, "hide_parameters": True})
