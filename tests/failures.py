"""A pytest plugin that explains a red run in its last 60 lines.

Each failed test gets the end of the log files that its processes wrote. After pytest's own summary the run prints, per
failed test, its name, file, line, assertion and log.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

LINES = 50  # all failures together; make and pytest add a few lines of their own
LOG_FOLDERS = pytest.StashKey[list[Path]]()
"""Folders outside pytest's temporary folder whose log files belong to the tests of this process."""

_LOG = "End of "
_LOG_FILES = 3
_LOG_LINES = 30
_WIDTH = 300
_STARTED = pytest.StashKey[float]()
_CAPTURED = ("Captured log", "Captured stderr", "Captured stdout")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LOG_FOLDERS] = []
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_RunningTests())


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[_STARTED] = time.time()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        since = item.stash.get(_STARTED, 0.0) - 1  # the clock of a file system is a little behind
        report.sections += log_sections(_log_folders(item.config), since)
        if call.excinfo is not None:
            report.sections += _output_sections(call.excinfo.value)
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(report: pytest.TestReport, sched: object) -> None:
    """Add the logs of the last minutes to the report of a worker that died."""
    config: pytest.Config = sched.config  # type: ignore[attr-defined]
    report.sections += log_sections(_log_folders(config), time.time() - 300)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> Generator[None, None, None]:
    yield
    reports = [*terminalreporter.getreports("failed"), *terminalreporter.getreports("error")]
    if not reports:
        return
    terminalreporter.section("each failure: file, line, assertion, end of its log", "=", red=True)
    for line in failure_lines(reports, config.rootpath):
        terminalreporter.write_line(line)


def failure_lines(reports: list[pytest.TestReport], root: Path) -> list[str]:
    """Describe failed tests in at most ``LINES`` lines.

    Args:
        reports: Reports of failed tests and of failed collections.
        root: The repository; locations below it are printed relative to it.

    Returns:
        For each report its name, file, line, assertion and the end of its logs; with many reports fewer lines each.
    """
    shown = reports[: LINES - 1] if len(reports) > LINES else reports
    each = LINES // len(shown)
    lines = [line[:_WIDTH] for report in shown for line in _describe(report, root, each)]
    if len(shown) < len(reports):
        lines.append(f"... and {len(reports) - len(shown)} more")
    return lines


def log_sections(folders: list[Path], since: float) -> list[tuple[str, str]]:
    """Return the ends of the log files that were written last.

    Args:
        folders: Where to look, at any depth.
        since: Files whose last change is older are left out; seconds since the epoch.

    Returns:
        A heading and the last lines of each file, the newest file first.
    """
    found: list[tuple[float, Path]] = []
    for folder in folders:
        for path in folder.rglob("*.log"):
            try:
                stat = path.stat()
            except OSError:  # removed in the meantime
                continue
            if stat.st_mtime >= since and stat.st_size:
                found.append((stat.st_mtime, path))
    newest = [path for _, path in sorted(found, reverse=True)[:_LOG_FILES]]
    return [(f"{_LOG}{path}", _end_of(path)) for path in newest]


def _describe(report: pytest.TestReport, root: Path, limit: int) -> Iterator[str]:
    when = getattr(report, "when", "collect")
    location, message = _location(report, root), _message(report)
    yield f"{report.nodeid} ({when}) at {location}: {message[0]}" if limit == 1 else f"{report.nodeid} ({when})"
    rest = limit - 2
    if rest < 0:
        return
    yield f"  at {location}: {message[0]}"
    details = message[1 : 1 + (rest // 2 or rest)]
    yield from (f"    {line}" for line in details)
    rest -= len(details)
    logs = [(name, text.splitlines()) for name, text in report.sections if name.startswith(_LOG)]
    if not logs:
        captured = [(name, text) for name, text in report.sections if name.startswith(_CAPTURED)]
        logs = [(name, _before_stacks(text).splitlines()) for name, text in captured]
        logs = [(name, text) for name, text in logs if text]
    if logs and (share := rest // len(logs)) > 1:
        for name, text in logs:
            yield f"  {name}:"
            yield from (f"    {line}" for line in text[1 - share :])


def _location(report: pytest.TestReport, root: Path) -> str:
    """Return the last line of the tests that the traceback passes, and the line that raised where it is another."""
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is None:
        return report.nodeid.split("::")[0]
    raised = f"{_relative(crash.path, root)}:{crash.lineno}"
    traceback = getattr(report.longrepr, "reprtraceback", None)
    places = [entry.reprfileloc for entry in traceback.reprentries if getattr(entry, "reprfileloc", None)]
    own = [f"{_relative(place.path, root)}:{place.lineno}" for place in places]
    tests = [place for place in own if place.startswith("tests/")]
    return f"{tests[-1]} (raised at {raised})" if tests and tests[-1] != raised else raised


def _message(report: pytest.TestReport) -> list[str]:
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash is not None else report.longreprtext
    lines = [line for line in text.splitlines() if line.strip()] or ["no message"]
    return lines if crash is not None else [lines[-1], *lines[:-1][-20:]]


def _before_stacks(text: str) -> str:
    """Cut off the stacks of other threads that pytest-timeout prints."""
    return text.split("+++++", 1)[0].split("~~~~~", 1)[0].strip()


def _relative(path: str, root: Path) -> str:
    return path.removeprefix(f"{root}/")


def _log_folders(config: pytest.Config) -> list[Path]:
    temporary: pytest.TempPathFactory = config._tmp_path_factory  # type: ignore[attr-defined]
    return [temporary.getbasetemp(), *config.stash[LOG_FOLDERS]]


def _output_sections(error: BaseException) -> list[tuple[str, str]]:
    """Return what a command printed whose failure ended the test; the exception's message leaves it out."""
    sections = []
    if isinstance(error, subprocess.CalledProcessError | subprocess.TimeoutExpired):
        for name, output in (("stdout", error.stdout), ("stderr", error.stderr)):
            text = output.decode(errors="replace") if isinstance(output, bytes) else output
            if text:
                sections.append((f"{_LOG}the command's {name}", "\n".join(text.splitlines()[-_LOG_LINES:])))
    return sections


def _end_of(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 20_000))
        lines = file.read().decode(errors="replace").splitlines()
    return "\n".join(lines[-_LOG_LINES:])


class _RunningTests:
    """Name the tests that run when the run itself is ended from outside."""

    def __init__(self) -> None:
        self._running: dict[str, float] = {}

    def pytest_sessionstart(self) -> None:
        signal.signal(signal.SIGTERM, self._end)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._running[nodeid] = time.monotonic()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._running.pop(nodeid, None)

    def _end(self, *_: object) -> None:
        now = time.monotonic()
        running = ", ".join(f"{name} (for {now - since:.0f} s)" for name, since in self._running.items())
        pytest.exit(
            f"ended by SIGTERM while these tests ran: {running or 'none'}", returncode=pytest.ExitCode.INTERRUPTED
        )
