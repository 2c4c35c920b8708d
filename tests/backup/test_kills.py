"""A backup or a restore that is killed at any step leaves the data intact or marked, and can be repeated."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

import pytest

from include.backup.comparison import describe, differences
from include.backup.create import Backup, create
from include.backup.restore import restore
from tests.backup.conftest import NOW, run_until
from tests.privacy.conftest import World, settings_of

pytestmark = pytest.mark.slow

KILLED = -9


@pytest.mark.parametrize(("event", "number"), [("shutil.copyfile", 5), ("shutil.copyfile", 150), ("os.rename", 1)])
def test_killed_backup_leaves_no_backup(world: World, tmp_path: Path, event: str, number: int) -> None:
    before = world.contents()
    assert run_until(event, number, world.settings, "create", "--to", tmp_path) == KILLED
    assert [path for path in tmp_path.iterdir() if not path.name.startswith(".")] == []
    made = create(world.settings, tmp_path, NOW)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == [made.folder.name]
    assert world.contents() == before


# The first rename writes the marker; then there are two for each place.
@pytest.mark.parametrize(
    ("event", "number", "marked"),
    [
        ("shutil.copyfile", 5, False),
        ("shutil.copyfile", 150, False),
        ("os.rename", 1, False),
        *(("os.rename", number, True) for number in (2, 3, 4, 9, 16)),
        ("shutil.rmtree", 1, True),
        ("shutil.rmtree", 5, True),
    ],
)
def test_killed_restore_is_intact_or_marked(
    world: World, backup: Backup, tmp_path: Path, event: str, number: int, marked: bool
) -> None:
    present = World(settings_of(tmp_path / "home"), world.version)
    restore(present.settings, backup.folder)
    (present.settings.reports_dir / "later.html").touch()
    before = present.contents()
    status = run_until(event, number, present.settings, "restore", "--from", backup.folder, "--replace")
    assert status == KILLED
    assert present.settings.unfinished_restore.exists() == marked
    if not marked:
        after = {name: checksum for name, checksum in present.contents().items() if ".restored" not in name}
        assert after.keys() - before.keys() <= {name for name in after if "unfinished-restore." in name}
        assert {name: after[name] for name in before} == before
    restore(present.settings, backup.folder, replace=not marked)
    assert differences(describe(world.settings), describe(present.settings)) == []
    assert not (present.settings.reports_dir / "later.html").exists()
    assert not present.settings.unfinished_restore.exists()


def test_backup_after_a_restore_is_the_same(world: World, backup: Backup, tmp_path: Path) -> None:
    copy = settings_of(tmp_path / "home")
    restore(copy, backup.folder)
    second = create(copy, tmp_path / "backups", NOW + dt.timedelta(days=1))
    shutil.rmtree(copy.home)
    restore(copy, second.folder)
    assert differences(describe(world.settings), describe(copy)) == []
