"""The same data and seed give the same model, byte for byte."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path

import pytest

from include.settings import ROOT
from include.training.data.build import build_dataset
from tests.behaviour.worlds import Trained, project_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # includes the generation of the data


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_bundle_bytes_do_not_depend_on_threads_or_workers(subscription: Trained, tmp_path: Path) -> None:
    project = project_of(
        "subscription", n_trials=3, test_snapshots=3, search_space={"n_estimators": {"low": 40, "high": 80}}
    )
    through = subscription.last_day - dt.timedelta(weeks=10)  # fewer snapshots, and still thousands of rows
    processes = []
    for name, workers, variables in (
        ("alone", 1, {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "1"}),
        ("together", 3, {"OMP_NUM_THREADS": "4", "PYTHONHASHSEED": "2"}),
    ):
        dataset = build_dataset(project, subscription.lake, through, tmp_path / name / "dataset")
        command = [sys.executable, "-m", "tests.behaviour.train_once"]
        command += [str(dataset.folder), str(tmp_path / name / "bundle"), str(workers)]
        processes.append(subprocess.Popen(command, cwd=ROOT, env=os.environ | variables))
    assert [process.wait(timeout=250) for process in processes] == [0, 0]
    alone, together = (content(tmp_path / name / "bundle") for name in ("alone", "together"))
    files = {"model.ubj", "calibrator.json", "contract.json", "samples.json", "profile.json", "manifest.json"}
    assert files == set(alone)
    assert alone == together
