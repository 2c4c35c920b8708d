"""``python -m include.sources audit``, as a person types it."""

import json
import os
import subprocess
import sys

import pytest

from include.days import DayRange
from include.settings import ROOT
from tests.world import FIRST, write_world

pytestmark = pytest.mark.slow


def sources(home, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"CHURN_HOME": str(home), "CHURN_PROJECT": "grocery"}
    command = [sys.executable, "-m", "include.sources", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_a_day_is_audited_and_the_report_is_where_it_says(tmp_path):
    write_world(tmp_path / "landing" / "grocery", DayRange.single(FIRST))
    done = sources(tmp_path, "audit", "--day", str(FIRST))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["report"] == str(tmp_path / "reports" / "audit" / str(FIRST) / "audit.html")
    assert report["sources"]["transactions"]["deliveries"] == 1
    assert (tmp_path / "reports" / "audit" / str(FIRST) / "audit.html").exists()


def test_an_error_is_one_line_that_names_the_remedy(tmp_path):
    done = sources(tmp_path, "audit", "--from-day", str(FIRST))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "The days of the audit are missing or ambiguous. Where: the command line."
        " Remedy: Give --day, or both --from-day and --to-day.\n"
    )
