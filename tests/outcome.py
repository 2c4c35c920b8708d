"""A pytest plugin that records the outcome of a run of all tests, as evidence for the readiness checks."""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from typing import Any

import pytest

from include.readiness.tested_code import code_checksum, record_tests
from include.settings import ROOT, get_settings

_SELECTIONS = ("keyword", "markexpr", "deselect", "ignore", "ignore_glob", "lf", "collectonly")


def pytest_configure(config: pytest.Config) -> None:
    selected = any(config.getoption(name, None) for name in _SELECTIONS)
    complete = not selected and config.args_source is pytest.Config.ArgsSource.TESTPATHS
    if complete and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Recorder())


class _Recorder:
    def __init__(self) -> None:
        self._code = code_checksum(ROOT)
        self._began = time.monotonic()
        self._counts: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" or not report.passed:
            self._counts[report.outcome] += 1

    # Before xdist ends its processes, which can fail.
    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            seconds = time.monotonic() - self._began
            record_tests(get_settings().home, self._code, dt.datetime.now(dt.UTC), self._counts, seconds)
