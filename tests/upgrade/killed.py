"""Upgrade the recorded deployment while it is killed after each step: ``python -m tests.upgrade.killed HOME``.

Each upgrade is a process that is forked before any work, so that the imports take their time only once.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import great_expectations  # noqa: F401 - takes seconds to import
import xgboost  # noqa: F401

from include.settings import Settings
from include.upgrade.steps import pending_steps
from tests.upgrade.releases.small_project import small_project


def run_and_die(settings: Settings, last: str) -> None:
    """Take the steps up to the step whose description starts with a text, and kill this process."""
    for step in pending_steps(settings, small_project()):
        step.run()
        if step.what.startswith(last):
            break
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    home = Path(sys.argv[1])
    settings = Settings(home=home, mlflow={"tracking_uri": f"sqlite:///{home}/mlflow.db"})
    for last in ("silver", "prediction log", "online store", "serving state", "18 tables"):
        child = os.fork()
        if child == 0:
            run_and_die(settings, last)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
