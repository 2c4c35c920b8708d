"""The drill restores the same deployment, records it, and fails if something differs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import mlflow
import pytest
from typer.testing import CliRunner

from include.backup.__main__ import app
from include.backup.comparison import describe, differences
from include.backup.drill import drill
from include.backup.errors import BackupError
from include.drills import RESTORE, read_drill
from include.lake import open_lake
from include.lake.table_names import FEATURES_TABLE
from include.settings import Settings, get_settings
from tests.backup.conftest import NOW
from tests.privacy.conftest import World

pytestmark = pytest.mark.slow


@pytest.fixture
def copy(world: World, tmp_path: Path) -> World:
    return world.copy(tmp_path / "home")


def test_drill_compares_and_records(copy: World) -> None:
    before = copy.contents()
    record, different = drill(copy.settings, NOW)
    assert record.passed
    assert different == []
    assert record == read_drill(copy.home, RESTORE)
    assert record.figures["tables"] == len(open_lake(copy.settings).table_names())
    assert record.figures["predictions"] == len(copy_of_newest_day(copy.settings))
    assert record.figures["model_versions"] == 1
    after = copy.contents()
    assert after.keys() - before.keys() == {"drills/restore.json"}
    assert {name: after[name] for name in before} == before


def copy_of_newest_day(settings: Settings) -> list[str]:
    table = open_lake(settings).table(FEATURES_TABLE)
    return list(table.read([table.days()[-1]], ["customer_id"])["customer_id"])


def test_each_kind_of_difference_is_found(world: World, copy: World) -> None:
    original = describe(world.settings)
    assert differences(original, describe(copy.settings)) == []
    table = open_lake(copy.settings).table(FEATURES_TABLE)
    day = table.days()[-1]
    rows = table.read([day])
    table.replace([day], rows)  # the same rows as another version
    assert differences(original, describe(copy.settings)) == [f"table {FEATURES_TABLE}"]
    table.replace([day], rows.slice(1))
    uri = copy.settings.mlflow.tracking_uri
    mlflow.MlflowClient(uri, uri).set_registered_model_alias("churn-grocery", "other", "1")
    assert differences(original, describe(copy.settings)) == ["predictions", "registry", f"table {FEATURES_TABLE}"]


def test_drill_needs_a_deployed_model(copy: World) -> None:
    shutil.rmtree(copy.settings.serving_dir)
    with pytest.raises(BackupError, match="No model is deployed"):
        drill(copy.settings, NOW)
    assert [path.name for path in copy.home.glob(".drill*")] == []


def test_commands_end_with_one_json_object(copy: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_HOME", str(copy.home))
    monkeypatch.setenv("CHURN_MLFLOW__TRACKING_URI", copy.settings.mlflow.tracking_uri)
    get_settings.cache_clear()
    try:
        made = last_line("create", "--to", str(tmp_path / "backups"))
        shutil.rmtree(copy.home)
        restored = last_line("restore", "--from", made["backup"])
        assert restored["tables"] == made["tables"]
        found = last_line("drill")
        assert found["passed"]
        assert found["different"] == []
    finally:
        get_settings.cache_clear()


def last_line(*arguments: str) -> dict[str, object]:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    content: dict[str, object] = json.loads(result.stdout.splitlines()[-1])
    return content
