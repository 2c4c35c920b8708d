"""A backup contains all data, restores to the same data, and is refused if it is damaged."""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from benchmarks.erasure_world import ingest
from include.backup.comparison import describe, differences
from include.backup.contents import CHECKSUMS, MANIFEST, places
from include.backup.create import Backup, create
from include.backup.errors import BackupError, DamagedBackupError, NotEmptyError
from include.backup.restore import restore
from include.days import DayRange
from include.lake import open_lake
from include.lake.table_names import FEATURES_TABLE, GOLD_DAYS_TABLE, SILVER_DAYS_TABLE, bronze_table
from include.settings import ProjectMismatchError, Settings
from tests.backup.conftest import NOW
from tests.privacy.conftest import World, settings_of
from tests.versions.world import DAYS, short_project
from tests.world import write_day

pytestmark = pytest.mark.slow


def test_restored_data_is_the_same(world: World, backup: Backup, tmp_path: Path) -> None:
    copy = settings_of(tmp_path)
    assert restore(copy, backup.folder) == backup.manifest
    assert set(backup.manifest.places) == places(world.settings).keys()
    assert differences(describe(world.settings), describe(copy)) == []
    original, restored = world.contents(), World(copy, world.version).contents()
    # Earlier versions of tables, the keys and the state of processes are left out.
    left_out = {name for name in original.keys() - restored.keys() if ".dvc/tmp" not in name}
    assert {name.split("/")[0] for name in left_out} <= {"lake", "signing.pem", "public.pem"}
    assert all("lock" in name or name.startswith(("lake", "signing", "public")) for name in left_out)
    copied = {name for name in restored if not name.endswith((".db", ".mdb"))}
    assert {name: restored[name] for name in copied} == {name: original[name] for name in copied}


def test_checksums_are_read_by_the_usual_program(backup: Backup) -> None:
    done = subprocess.run(["sha256sum", "--check", "--quiet", CHECKSUMS], cwd=backup.folder, check=False)
    assert done.returncode == 0
    assert backup.folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", [MANIFEST, CHECKSUMS, "lake", "serving", "versions_remote"])
def test_damaged_byte_is_refused(backup: Backup, tmp_path: Path, name: str) -> None:
    copy = Path(shutil.copytree(backup.folder, tmp_path / "backup"))
    path = copy / name if (copy / name).is_file() else next(file for file in (copy / name).rglob("*") if file.is_file())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    home = tmp_path / "home"
    with pytest.raises(DamagedBackupError):
        restore(settings_of(home), copy)
    assert not home.exists()


@pytest.mark.parametrize(
    "change", [lambda folder: (folder / "added").touch(), lambda folder: (folder / MANIFEST).unlink()]
)
def test_missing_and_added_files_are_refused(backup: Backup, tmp_path: Path, change: Callable[[Path], None]) -> None:
    copy = Path(shutil.copytree(backup.folder, tmp_path / "backup"))
    change(copy)
    with pytest.raises(DamagedBackupError):
        restore(settings_of(tmp_path / "home"), copy)


def test_data_is_replaced_only_on_request(world: World, backup: Backup, tmp_path: Path) -> None:
    copy = World(settings_of(tmp_path), world.version)
    restore(copy.settings, backup.folder)
    shutil.rmtree(copy.home / "lake")
    (copy.settings.reports_dir / "later.html").touch()
    before = copy.contents()
    with pytest.raises(NotEmptyError, match="contains data"):
        restore(copy.settings, backup.folder)
    assert copy.contents() == before
    restore(copy.settings, backup.folder, replace=True)
    assert differences(describe(world.settings), describe(copy.settings)) == []
    assert not (copy.settings.reports_dir / "later.html").exists()
    assert [path.name for path in copy.home.rglob(".*.re*")] == []


def test_backup_of_another_project_is_refused(backup: Backup, tmp_path: Path) -> None:
    other = settings_of(tmp_path).model_copy(update={"project": "subscription"})
    with pytest.raises(ProjectMismatchError):
        restore(other, backup.folder)


def test_backups_do_not_contain_backups(world: World, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="part of the data"):
        create(world.settings, world.settings.reports_dir / "backups", NOW)
    with pytest.raises(BackupError, match="not a backup"):
        restore(settings_of(tmp_path), tmp_path)


def test_backup_beside_an_ingest_is_completed_by_another_ingest(world: World, tmp_path: Path) -> None:
    running = world.copy(tmp_path / "home")
    new = [DAYS.last + dt.timedelta(days=number) for number in range(1, 4)]
    for day in new:
        write_day(running.landing, day)
    writer = threading.Thread(target=ingest_each, args=(running.settings, new))
    writer.start()
    made = []
    while writer.is_alive():
        made.append(create(running.settings, tmp_path / f"backups{len(made)}", NOW))
    writer.join()
    assert len({tuple(backup.manifest.tables.values()) for backup in made}) > 2
    for number, backup in enumerate(made):
        copy = settings_of(tmp_path / f"copy{number}")
        restore(copy, backup.folder)
        lake = open_lake(copy)
        order = (GOLD_DAYS_TABLE, FEATURES_TABLE, SILVER_DAYS_TABLE, bronze_table("transactions"))
        days = [set(lake.table(table).days()) for table in order]
        assert all(later <= earlier for later, earlier in pairwise(days))
    ingest_each(copy, new)
    assert rows_of(copy) == rows_of(running.settings)


def ingest_each(settings: Settings, days: list[dt.date]) -> None:
    for day in days:
        ingest(settings, short_project(), DayRange.single(day))


def rows_of(settings: Settings) -> dict[str, Any]:
    """Return the rows of each table, without its version."""
    return {name: content[1:] for name, content in describe(settings).items() if name.startswith("table ")}


def test_commands_refuse_to_run_until_an_interrupted_restore_is_repeated(world: World, tmp_path: Path) -> None:
    (tmp_path / "unfinished-restore").write_text("the folder of the backup\n")
    command = [sys.executable, "-m", "include.readiness"]
    done = subprocess.run(command, env={"CHURN_HOME": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "A restore has not finished" in done.stderr
