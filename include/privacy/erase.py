"""Erase one customer from everything that the deployment stores.

The hash of the id is recorded first, so that later deliveries load no rows of the customer. Then each step removes the
customer's data from one place. A step can be repeated, and a repetition after an interruption finishes the erasure.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from include.lake import Lake, open_lake
from include.logs import get_logger
from include.privacy.customer import Customer, find_customer
from include.privacy.landing import ErasedFile, erase_from_landing
from include.privacy.proof import Erasure, Left, Proof, privacy_folder, timestamp
from include.privacy.tables import erase_from_table, tables_of_customers, unsearched_tables
from include.projects import Project, load_project
from include.provenance.statement import ProvenanceError
from include.serving.online_store import open_store
from include.serving.prediction_log.segments import SegmentError, all_files, delete_damaged, erase_rows
from include.settings import Settings
from include.sources.connections import Connections
from include.sources.erased_customers import customer_hash, key_id, read_erased, record_erased
from include.training.commands import training_root
from include.training.data.erasure import erase_from_dataset
from include.versions.erasure import erase_from_versions
from include.versions.repository import open_repository

log = get_logger(__name__)


@dataclass(frozen=True)
class Task:
    """An erasure that is carried out.

    Attributes:
        settings: The deployment.
        project: Its project.
        lake: Its lake.
        customer: The customer.
        dry_run: Whether the data is only counted.
    """

    settings: Settings
    project: Project
    lake: Lake
    customer: Customer
    dry_run: bool


Step = Callable[[Task], Iterator[dict[str, Any] | Left]]


def erase(settings: Settings, customer_id: str, at: dt.datetime, *, dry_run: bool = False) -> tuple[Erasure, Path]:
    """Erase a customer, and return what was removed and the file of the proof.

    Args:
        settings: The deployment.
        customer_id: The id of the customer, in any spelling that the source of the population has for it.
        at: The time, with a time zone.
        dry_run: Whether the data is only counted; nothing is changed, and no proof is written.

    Raises:
        PrivacyKeyError: A key is missing; nothing is changed.
        CustomerIdError: The text is not an id; nothing is changed.
        ProvenanceError: The signed provenance of models is required, but this process cannot sign; nothing is changed.
        ChurnflowError: A step failed; the earlier steps are complete, and the erasure can be repeated.
    """
    project, lake = load_project(settings.project), open_lake(settings)
    task = Task(settings, project, lake, find_customer(project, customer_id), dry_run)
    hashed = customer_hash(task.customer.customer_id, settings.privacy)
    read_erased(lake, settings.privacy)
    _require_signing_key(settings)
    erasure = Erasure(timestamp(at), dry_run)
    if dry_run:
        proof = Proof(settings, key_id(settings.privacy), hashed)
        _run(task, erasure, lambda: None)
        return erasure, proof.path
    folder = privacy_folder(settings)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        proof = Proof(settings, key_id(settings.privacy), hashed)
        record_erased(lake, task.customer.customer_id, settings.privacy, at.astimezone(dt.UTC).date())
        _run(task, erasure, lambda: proof.write(erasure))
    log.info("customer erased", extra={"proof": str(proof.path), "finished": erasure.finished})
    return erasure, proof.path


def _run(task: Task, erasure: Erasure, save: Callable[[], None]) -> None:
    for name, step in STEPS.items():
        save()
        found = list(step(task))
        erasure.removed[name] = [item for item in found if not isinstance(item, Left)]
        erasure.left += [item for item in found if isinstance(item, Left)]
    if not task.dry_run:
        erasure.left += _rows_written_meanwhile(task)
    erasure.finished = not task.dry_run and not erasure.left
    save()


def _erase_from_landing(task: Task) -> Iterator[dict[str, Any] | Left]:
    connections = Connections.from_settings(task.settings)
    for found in erase_from_landing(task.project, connections, task.customer.is_named, dry_run=task.dry_run):
        yield asdict(found) if isinstance(found, ErasedFile) else Left(found.where, found.what)


def _erase_from_tables(task: Task) -> Iterator[dict[str, Any] | Left]:
    running = max(task.settings.tasks.timeout, task.settings.tasks.training_timeout)
    for table, source in tables_of_customers(task.project, task.lake):
        yield asdict(erase_from_table(table, source, task.customer.is_named, running, dry_run=task.dry_run))
    for name in unsearched_tables(task.project, task.lake):
        yield Left(name, "The project does not declare its source, so that its customer column is not known.")


def _erase_from_online_store(task: Task) -> Iterator[dict[str, Any] | Left]:
    store = open_store(task.settings)
    if store is not None:
        customer_id = task.customer.customer_id
        found = store.contains(customer_id) if task.dry_run else store.erase(customer_id)
        yield {"backend": task.settings.serving.store.backend, "rows": int(found)}


def _erase_from_prediction_log(task: Task) -> Iterator[dict[str, Any] | Left]:
    customer = task.customer
    for files, path in all_files(task.settings):
        try:
            rows = erase_rows(files, path, customer.is_named, dry_run=task.dry_run)
        except SegmentError:
            rows = int(delete_damaged(files, path, customer.customer_id, dry_run=task.dry_run))
        if rows:
            yield {"file": path, "rows": rows}


def _erase_from_datasets(task: Task) -> Iterator[dict[str, Any] | Left]:
    for folder in sorted((training_root(task.settings) / task.settings.project).glob("*/")):
        rows = erase_from_dataset(folder, task.customer.is_named, dry_run=task.dry_run)
        if rows:
            yield {"folder": str(folder), "rows": rows}


def _erase_from_versions(task: Task) -> Iterator[dict[str, Any] | Left]:
    repository, key = open_repository(task.settings), task.settings.provenance.signing_key
    for changed in erase_from_versions(task.project, repository, task.customer.is_named, key, dry_run=task.dry_run):
        yield {"replaced": changed.replaced, "revision": changed.revision, "rows": changed.rows}


STEPS: dict[str, Step] = {
    "landing": _erase_from_landing,
    "tables": _erase_from_tables,
    "online_store": _erase_from_online_store,
    "prediction_log": _erase_from_prediction_log,
    "datasets": _erase_from_datasets,
    "versions": _erase_from_versions,
}
"""The steps by name, in their order: data flows from the places of earlier steps to those of later steps."""


def _rows_written_meanwhile(task: Task) -> Iterator[Left]:
    for table, source in tables_of_customers(task.project, task.lake):
        if erase_from_table(table, source, task.customer.is_named, dt.timedelta(), dry_run=True).rows:
            yield Left(table.name, "A run wrote rows of the customer during the erasure; repeat the erasure.")


def _require_signing_key(settings: Settings) -> None:
    keys = settings.provenance
    if keys.public_key and not keys.signing_key:
        raise ProvenanceError(
            "An erasure changes the versions of raw data. Without a signed record of the change, models that were"
            " trained on them could not be deployed.",
            where="environment variable CHURN_PROVENANCE__SIGNING_KEY",
            remedy="Set it to the private key, as for churn_train.",
        )
