"""The restore drill: a copy of the deployment is backed up, destroyed, restored, and compared with the original."""

from __future__ import annotations

import datetime as dt
import shutil
import tempfile
import time
from pathlib import Path

from pydantic import SecretStr

from include.backup.comparison import describe, describe_databases, differences
from include.backup.create import create
from include.backup.databases import Database, databases
from include.backup.errors import BackupError
from include.backup.restore import restore
from include.drills import RESTORE, DrillRecord, write_drill
from include.logs import get_logger
from include.settings import BackupSettings, MlflowSettings, Settings

log = get_logger(__name__)

_PREFIX = ".drill-"


def drill(settings: Settings, at: dt.datetime) -> tuple[DrillRecord, list[str]]:
    """Carry out a restore drill, record it, and return the record and the names of what differs.

    The original is backed up and restored as a copy, in a temporary folder of the home and in databases of their own.
    The copy is backed up, destroyed and restored from this second backup. Then its tables, registry and predictions
    must equal those of the original at the time of the first backup, and its databases those before the destruction.
    The original is only read. The home needs four times the space of the backup.

    Args:
        settings: The deployment.
        at: The present time, with a time zone.

    Raises:
        BackupError: No model is deployed, the lake is in an object store, or a backup or restore failed.
    """
    if "://" in settings.lake_uri:
        raise BackupError(
            "The lake is in an object store, which a backup leaves out.",
            where=settings.lake_uri,
            remedy="Use the versioning or the replication of the store, and try out its restore.",
        )
    for left in settings.home.glob(f"{_PREFIX}*"):
        shutil.rmtree(left)
    copied: list[Database] = []
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=settings.home) as scratch:
        try:
            copy = _copy_of(settings, Path(scratch) / "home")
            copied = databases(copy)
            return _drill(settings, copy, copied, Path(scratch), at)
        finally:
            for database in copied:
                database.drop()


def _drill(
    settings: Settings, copy: Settings, copied: list[Database], scratch: Path, at: dt.datetime
) -> tuple[DrillRecord, list[str]]:
    for database in copied:  # of an interrupted drill
        database.drop()
    first = create(settings, scratch / "first", at)
    original = describe(settings, first.manifest.tables)
    restore(copy, first.folder)
    before = describe_databases(copy)
    started = time.perf_counter()
    second = create(copy, scratch / "second", at)
    made = time.perf_counter()
    shutil.rmtree(copy.home)
    for database in copied:
        database.drop()
    destroyed = time.perf_counter()
    restore(copy, second.folder)
    restored = time.perf_counter()
    after = describe_databases(copy) | describe(copy)
    different = differences(original | before, after)
    figures = {
        "tables": len(first.manifest.tables),
        "rows": sum(content[1] for name, content in after.items() if name.startswith("table ")),
        "model_versions": len(after["registry"]["versions"]),
        "predictions": after["predictions"][1],
        "database_tables": len(before),
        "bytes": second.bytes,
        "backup_seconds": round(made - started, 1),
        "restore_seconds": round(restored - destroyed, 1),
        "differences": len(different),
    }
    record = DrillRecord(drill=RESTORE, carried_out=at, passed=not different, figures=figures)
    write_drill(settings.home, record)
    for name in different:
        log.error("restored data differs", extra={"part": name})
    return record, different


def _copy_of(settings: Settings, home: Path) -> Settings:
    urls = {database.name: _drill_url(database) for database in databases(settings)}
    mlflow = settings.mlflow if "mlflow" in urls else MlflowSettings(tracking_uri=f"sqlite:///{home}/mlflow.db")
    log_settings = settings.serving.log.model_copy(update={"uri": "", "spool": ""})
    return settings.model_copy(
        update={
            "home": home,
            "landing_uri": str(home / "landing"),
            "lake_uri": str(home / "lake"),
            "reports_dir": home / "reports" / settings.project,
            "serving_dir": home / "serving" / settings.project,
            "versions": settings.versions.model_copy(update={"remote": ""}),
            "mlflow": mlflow,
            "serving": settings.serving.model_copy(update={"log": log_settings}),
            "backup": BackupSettings(**{f"{name}_database": url for name, url in urls.items()}),
        }
    )


def _drill_url(database: Database) -> SecretStr:
    return database.called(f"{database.database}_drill").url
