"""The commands of the local stack start only PostgreSQL while it is down, and restore it after the loss of all data."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

from include.drills import RESTORE, read_drill
from include.settings import ROOT, Settings
from local.postgres import database_url
from local.stack import Stack
from tests.postgres import postgres_folder
from tests.privacy.conftest import World, world

__all__ = ["world"]

pytestmark = pytest.mark.slow


def test_stack_is_restored_after_the_loss_of_its_disk(world: World, tmp_path: Path) -> None:
    with postgres_folder() as folder:
        home = folder / "home"
        shutil.copytree(world.home, home, ignore=shutil.ignore_patterns("mlflow.db"))

        def run(*arguments: str) -> dict[str, object]:
            command = [sys.executable, "-m", "local", *arguments]
            environment = os.environ | {"CHURN_HOME": str(home)}
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            assert not (home / "postgres" / "postmaster.pid").exists()
            content: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
            return content

        register_model(home)
        made = run("backup", "--to", str(tmp_path))
        shutil.rmtree(home)
        assert run("restore", "--from", str(made["backup"]))["tables"] == made["tables"]
        assert run("drill")["passed"]
        record = read_drill(home, RESTORE)
        assert record is not None
        assert record.figures["model_versions"] == 1
        assert int(record.figures["database_tables"]) > 40


def register_model(home: Path) -> None:
    """Register a model in MLflow's database on the embedded server."""
    with Stack(Settings(home=home)).postgres() as host:
        client = mlflow.MlflowClient(database_url(host, "mlflow"), database_url(host, "mlflow"))
        run = client.create_run(client.create_experiment("churn-grocery", artifact_location="mlflow-artifacts:/1")).info
        client.create_registered_model("churn-grocery")
        client.create_model_version("churn-grocery", f"{run.artifact_uri}/model", run.run_id)
        client.set_registered_model_alias("churn-grocery", "champion", "1")
