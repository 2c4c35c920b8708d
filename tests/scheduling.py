"""A pytest plugin that orders the tests and distributes them to the workers of pytest-xdist.

Fast files run before slow ones. Within each group the longest file runs first, by the seconds in ``durations.json``, so
that all workers end at about the same time. The end-to-end tests, which mostly wait for Airflow, occupy one worker
from the beginning. The tests marked ``timing`` run at the end, in one worker, when all others are done.

With ``-n 3 --dist loadfile`` one collection serves all groups, and the tests of a file run in one worker.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

DURATIONS = Path(__file__).parent / "durations.json"
ALONE = " (alone)"
"""The end of the name of a unit of work that waits until no other worker is left."""

_SLOW = ("slow", "airflow")
_END_TO_END = "tests/e2e"
_UNKNOWN_SECONDS = 10.0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--store-durations", action="store_true", help=f"record the seconds of each file in {DURATIONS}")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("store_durations") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_DurationsRecorder())


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    seconds = read_durations()
    slow = {file_of(item.nodeid) for item in items if any(item.get_closest_marker(name) for name in _SLOW)}
    alone = {item.nodeid for item in items if item.get_closest_marker("timing")}

    # The end-to-end tests come first in a worker of their own, and last where one process runs all tests.
    place = -1 if hasattr(config, "workerinput") else 1

    def rank(item: pytest.Item) -> tuple[bool, int, bool, float, str]:
        file = file_of(item.nodeid)
        if unit_of(item.nodeid) == _END_TO_END:
            return item.nodeid in alone, place, False, 0, file
        return item.nodeid in alone, 0, file in slow, -seconds.get(file, _UNKNOWN_SECONDS), file

    items.sort(key=rank)  # the order inside a file stays
    if target := getattr(config, "workerinput", {}).get("alone"):
        Path(target).write_text(json.dumps(sorted(alone)))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["alone"] = str(_alone_file(node.config, node.gateway.id))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    return FilesThenAlone(config, log) if config.getvalue("dist") == "loadfile" else None


class FilesThenAlone(LoadScopeScheduling):
    """Hand out files in the order of the collection, and the tests that run alone to the last worker."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False
        self._alone: frozenset[str] = frozenset()

    def schedule(self) -> None:
        worker = next(iter(self.registered_collections))
        self._alone = frozenset(json.loads(_alone_file(self.config, worker.gateway.id).read_text()))
        super().schedule()

    def remove_node(self, node: Any) -> str | None:
        """Forget a worker that ended, and hand out what is left of its tests after a crash.

        Returns:
            The test during which the worker crashed, or None. Unlike in the base class it does not run again.
        """
        workload = self.assigned_work.pop(node)
        pending = [(unit, nodeid) for unit in workload.values() for nodeid, done in unit.items() if not done]
        if pending:
            pending[0][0][pending[0][1]] = True
            rest = {scope: unit for scope, unit in workload.items() if not all(unit.values())}
            self.workqueue = OrderedDict([*rest.items(), *self.workqueue.items()])
        for other in self.nodes:
            self._reschedule(other)
        return pending[0][1] if pending else None

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid) + (ALONE if nodeid in self._alone else "")

    def _reschedule(self, node: Any) -> None:
        left = -1
        while left != len(self.workqueue):  # a worker starts a test when it has the next one, too
            left = len(self.workqueue)
            super()._reschedule(node)

    def _assign_work_unit(self, node: Any) -> None:
        others = [other for other in self.nodes if other is not node]
        if others and next(iter(self.workqueue)).endswith(ALONE):
            if not all(other.shutting_down for other in others):
                node.shutdown()
            return  # the last worker goes on when remove_node was called for all others
        with contextlib.suppress(OSError):  # the worker died; remove_node hands its tests out again
            super()._assign_work_unit(node)


def file_of(nodeid: str) -> str:
    """Return the file part of a test's name."""
    return nodeid.split("::", 1)[0]


def unit_of(nodeid: str) -> str:
    """Return the name of the tests that run in the same worker: the file, or the folder of the end-to-end tests."""
    return _END_TO_END if nodeid.startswith(f"{_END_TO_END}/") else file_of(nodeid)


def read_durations() -> dict[str, float]:
    """Return the recorded seconds of each test file."""
    return dict(json.loads(DURATIONS.read_text())) if DURATIONS.exists() else {}


def _alone_file(config: pytest.Config, worker: str) -> Path:
    temporary: pytest.TempPathFactory = config._tmp_path_factory  # type: ignore[attr-defined]
    return temporary.getbasetemp() / f"alone-{worker}.json"


class _DurationsRecorder:
    """Sum the seconds of each file, and write them when the run ends."""

    def __init__(self) -> None:
        self._seconds: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[file_of(report.nodeid)] += report.duration

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        root = session.config.rootpath
        known = {file: seconds for file, seconds in read_durations().items() if (root / file).exists()}
        measured = known | {file: round(seconds, 1) for file, seconds in self._seconds.items()}
        DURATIONS.write_text(json.dumps(dict(sorted(measured.items())), indent=1) + "\n")
