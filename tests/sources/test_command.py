"""``python -m include.sources audit``."""

import json

import pytest

from include.days import DayRange
from include.settings import get_settings
from include.sources.__main__ import app
from tests.world import FIRST, write_world


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("CHURN_HOME", str(tmp_path))
    monkeypatch.setenv("CHURN_PROJECT", "grocery")
    get_settings.cache_clear()
    yield tmp_path
    get_settings.cache_clear()


def sources(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        app(list(arguments))
    return int(ended.value.code or 0)


def test_audit_command_prints_the_report_path(home, capsys):
    write_world(home / "landing" / "grocery", DayRange.single(FIRST))
    assert sources("audit", "--day", str(FIRST)) == 0
    printed = json.loads(capsys.readouterr().out)
    report = home / "reports" / "grocery" / "audit" / str(FIRST) / "audit.html"
    assert printed["report"] == str(report)
    assert printed["sources"]["transactions"]["deliveries"] == 1
    assert report.exists()


def test_ambiguous_days_are_an_error_on_one_line(home, capsys):
    assert sources("audit", "--from-day", str(FIRST)) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        "The days of the audit are missing or ambiguous. Where: the command line."
        " Remedy: Give --day, or both --from-day and --to-day.\n"
    )
