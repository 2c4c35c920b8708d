"""The results of the readiness checks, and their storage as JSON and as a page."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError, computed_field

from include.errors import ChurnflowError
from include.local_files import write_atomically
from include.projects.readiness import CheckName
from include.reporting import html_templates
from include.settings import require_project

FOLDER = "readiness"
FILE = "readiness.json"
PAGE = "index.html"

State = Literal["passed", "failed", "stale"]


class ReadinessError(ChurnflowError):
    """The stored results cannot be read."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class CheckResult(_Frozen):
    """The result of one check.

    Attributes:
        name: The name of the check.
        title: What the check requires.
        state: ``stale`` for evidence of a pass that is too old.
        evidence: What was checked, and what was found.
        figure: The decisive figure; empty for none.
        time: The time at which the evidence was made; None without evidence.
        link: A report, relative to the folder of reports, or a URL; empty for none.
        stale_after_days: The age of the evidence in days above which it is stale.
    """

    name: CheckName
    title: str
    state: State
    evidence: str
    figure: str
    time: AwareDatetime | None
    link: str
    stale_after_days: int


class GateResult(_Frozen):
    """The results of the checks of one gate."""

    title: str
    checks: tuple[CheckResult, ...]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def passed(self) -> int:
        """The number of checks that passed."""
        return sum(check.state == "passed" for check in self.checks)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def of(self) -> int:
        """The number of checks."""
        return len(self.checks)


class ReadinessResult(_Frozen):
    """The results of all gates.

    Attributes:
        project: The project.
        checked_at: The time of the checks.
        gates: The gates by their numbers, ``1`` to ``4``.
    """

    project: str
    checked_at: AwareDatetime
    gates: dict[str, GateResult]

    def counts(self) -> dict[str, dict[str, int]]:
        """Return ``passed``, the number of passed checks, and ``of``, the number of checks, by gate."""
        return {number: {"passed": gate.passed, "of": gate.of} for number, gate in self.gates.items()}


def write_results(result: ReadinessResult, reports_dir: Path) -> None:
    """Write ``readiness/readiness.json`` in place of earlier results.

    Args:
        result: The results.
        reports_dir: The project's folder of reports.
    """
    write_atomically(reports_dir / FOLDER / FILE, result.model_dump_json(indent=1) + "\n")


def write_page(result: ReadinessResult, reports_dir: Path) -> Path:
    """Write ``readiness/index.html`` in place of an earlier page, and return its path.

    Args:
        result: The results.
        reports_dir: The project's folder of reports.
    """
    template = html_templates(Path(__file__).parent / "templates").get_template("readiness.html")
    path = reports_dir / FOLDER / PAGE
    write_atomically(path, template.render(result=result))
    return path


def read_results(reports_dir: Path) -> ReadinessResult | None:
    """Return the newest results; None if there are none.

    Args:
        reports_dir: The project's folder of reports, with the project's name.

    Raises:
        ProjectMismatchError: The results are of another project.
        ReadinessError: The file is damaged.
    """
    path = reports_dir / FOLDER / FILE
    try:
        result = ReadinessResult.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise ReadinessError(
            "The file does not contain the results of the readiness checks.",
            where=str(path),
            remedy="Run `python -m include.readiness` again.",
        ) from error
    require_project(result.project, reports_dir.name, what="The readiness result", where=path)
    return result


def state_of(passed: bool, time: dt.datetime | None, now: dt.datetime, stale_after: dt.timedelta) -> State:
    """Return the state of a check.

    Args:
        passed: Whether the evidence shows what the check requires.
        time: The time of the evidence; None if it is unknown.
        now: The present time.
        stale_after: The age above which evidence is stale.
    """
    if not passed:
        return "failed"
    return "stale" if time is None or now - time > stale_after else "passed"
