"""Apply the retention periods of a project (``keep_days``), relative to the newest day in gold."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from include.errors import ChurnflowError
from include.lake import Lake, open_lake
from include.lake.maintenance import compact, remove_days, remove_days_before
from include.lake.table_names import (
    ACKNOWLEDGEMENTS_TABLE,
    FEATURES_QUARANTINE_TABLE,
    FEATURES_TABLE,
    GOLD_DAYS_TABLE,
    INCIDENTS_TABLE,
    LABEL_DAYS_TABLE,
    LABELS_TABLE,
    MESSAGES_TABLE,
    PREDICTIONS_TABLE,
    SCORES_TABLE,
    bronze_table,
    quarantine_table,
    silver_table,
)
from include.logs import get_logger
from include.projects import Project, Source
from include.serving.deployment.bento_store import data_revisions
from include.settings import Settings
from include.sources.connections import Connections
from include.sources.kept_days import record_first_kept
from include.sources.storage import DailyFiles, is_access_failure
from include.training.commands import training_root
from include.versions.expiry import delete_versions
from include.versions.repository import open_repository

log = get_logger(__name__)

_TABLES = {
    "features": (FEATURES_TABLE, GOLD_DAYS_TABLE, LABELS_TABLE, LABEL_DAYS_TABLE),
    "scores": (SCORES_TABLE,),
    "predictions": (PREDICTIONS_TABLE,),
    "monitoring": (INCIDENTS_TABLE, ACKNOWLEDGEMENTS_TABLE, MESSAGES_TABLE),
}
_KEPT_REPORTS = "model"
"""The folder of the model cards, which are named by version and contain no rows."""


class LandingError(ChurnflowError):
    """A delivered file cannot be deleted."""


def apply_periods(project: Project, settings: Settings) -> dict[str, int]:
    """Delete all data that is older than its period, and return the number of deleted days, files or versions by kind.

    Nothing is deleted before there is a day in gold. The deletion of each table is one commit.

    Args:
        project: The project with the periods.
        settings: The deployment.

    Raises:
        LandingError: A delivered file cannot be deleted; all other data was handled.
        VersionError: The remote of the versions does not answer; all other data was handled.
    """
    lake = open_lake(settings)
    newest = max(lake.table(FEATURES_TABLE).days(), default=None)
    if newest is None:
        return {}
    first = {name: newest - dt.timedelta(days=days - 1) for name, days in project.keep_days if days is not None}
    removed = {}
    if read := [first[layer] for layer in ("bronze", "silver") if layer in first]:
        # The record is written first, so that no ingest reads a window of which a part is missing.
        _record_if_older(project, lake, max(read))
    for layer, name_of in (("bronze", bronze_table), ("silver", silver_table)):
        if layer in first:
            removed[layer] = sum(
                len(remove_days(table, _expired(source, table.days(), first[layer])))
                for name, source in project.sources.items()
                if (table := lake.table(name_of(name))).exists()
            )
    names = {"quarantine": (FEATURES_QUARANTINE_TABLE, *map(quarantine_table, project.sources)), **_TABLES}
    for kind, tables in names.items():
        if kind in first:
            removed[kind] = sum(len(remove_days_before(lake.table(name), first[kind])) for name in tables)
    if "datasets" in first:
        removed["datasets"] = _delete_datasets(settings, first["datasets"])
    if "reports" in first:
        removed["reports"] = _delete_reports(settings.reports_dir, first["reports"])
    if "versions" in first:
        versions = delete_versions(open_repository(settings), first["versions"], data_revisions(settings))
        removed["versions"] = len(versions)
    if "landing" in first:
        removed["landing"] = _delete_landing(project, Connections.from_settings(settings), first["landing"])
    log.info("retention periods applied", extra={"newest": str(newest), "removed": removed})
    return removed


def compact_tables(settings: Settings) -> dict[str, int]:
    """Join small files of all tables, delete files of earlier versions, and return both numbers.

    Args:
        settings: The deployment.
    """
    lake = open_lake(settings)
    done = [compact(lake.table(name)) for name in lake.table_names()]
    result = {"joined": sum(joined for joined, _ in done), "deleted": sum(deleted for _, deleted in done)}
    log.info("tables compacted", extra=result)
    return result


def delete_lineage_events(settings: Settings, now: dt.datetime) -> int:
    """Delete the old files of lineage events, and return their number.

    Args:
        settings: The folder of the events, and the number of days for which they are kept.
        now: The present time.
    """
    oldest = (now - dt.timedelta(days=settings.tasks.lineage_days)).timestamp()
    old = [path for path in settings.lineage_dir.glob("*.json") if path.stat().st_mtime < oldest]
    for path in old:
        path.unlink(missing_ok=True)
    log.info("lineage events deleted", extra={"deleted": len(old)})
    return len(old)


def _record_if_older(project: Project, lake: Lake, first_kept: dt.date) -> None:
    tables = [lake.table(name_of(name)) for name in project.sources for name_of in (bronze_table, silver_table)]
    if any(min(table.days(), default=first_kept) < first_kept for table in tables):
        record_first_kept(lake, first_kept)


def _expired(source: Source, days: Iterable[dt.date], first_kept: dt.date) -> list[dt.date]:
    """Return the days before a day whose deliveries no later day reads."""
    old = sorted(day for day in days if day < first_kept)
    if source.kind == "changes":
        return []  # the latest row of a key can be old
    # A whole table is valid until its next delivery.
    return old if source.kind == "events" else [day for day in old if day != old[-1]]


def _delete_datasets(settings: Settings, first_kept: dt.date) -> int:
    folders = _days_of((training_root(settings) / settings.project).glob("*/"))
    return _delete([path for day, path in folders[:-1] if day < first_kept])


def _delete_reports(reports: Path, first_kept: dt.date) -> int:
    folders = _days_of(path for path in reports.glob("*/*/") if path.parent.name != _KEPT_REPORTS)
    return _delete([path for day, path in folders if day < first_kept])


def _days_of(folders: Iterable[Path]) -> Sequence[tuple[dt.date, Path]]:
    found = []
    for path in folders:
        with suppress(ValueError):
            found.append((dt.date.fromisoformat(path.name), path))
    return sorted(found)


def _delete(folders: Sequence[Path]) -> int:
    for path in folders:
        shutil.rmtree(path)
    return len(folders)


def _delete_landing(project: Project, connections: Connections, first_kept: dt.date) -> int:
    deleted, failed = 0, []
    for source in project.sources.values():
        if source.files and (address := connections.address(source.files.path)) != source.files.path:
            storage = DailyFiles(address, source.files.compression)
            found = storage.list()
            for day in _expired(source, found, first_kept):
                try:
                    storage.delete(found[day])
                    deleted += 1
                except Exception as error:
                    if not is_access_failure(error):
                        raise
                    failed.append(found[day].uri)
    if failed:
        raise LandingError(
            f"{len(failed)} delivered files cannot be deleted.",
            where=failed[0],
            remedy="Grant this process write access, or remove keep_days.landing if other systems own the files.",
        )
    return deleted
