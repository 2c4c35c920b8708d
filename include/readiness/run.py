"""The readiness checks of a deployment with their reports, for the command and the Airflow task."""

from __future__ import annotations

import datetime as dt

from include.projects import load_project
from include.readiness.gates import check_readiness
from include.readiness.page import write_page
from include.readiness.results import ReadinessResult, write_results
from include.readiness.system import System
from include.settings import Settings


def run_checks(settings: Settings, now: dt.datetime) -> ReadinessResult:
    """Carry out all checks, write ``readiness/index.html`` and ``readiness/readiness.json``, and return the results.

    Args:
        settings: The deployment.
        now: The present time, with a time zone.

    Raises:
        ProjectError: The project is invalid.
        OSError: The reports cannot be written.
    """
    result = check_readiness(System(settings, load_project(settings.project), now))
    write_page(result, settings.reports_dir)
    write_results(result, settings.reports_dir)
    return result
