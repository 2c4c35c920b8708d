"""The gates with their checks, and the evaluation of all checks, for the command and the Airflow task."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

from include.errors import ChurnflowError
from include.logs import get_logger
from include.projects import load_project
from include.projects.readiness import CheckName
from include.readiness import data, model, operations, production
from include.readiness.results import CheckResult, GateResult, ReadinessResult, state_of, write_page, write_results
from include.readiness.system import Evidence, System
from include.settings import Settings

log = get_logger(__name__)


@dataclass(frozen=True)
class Check:
    """A box of a gate's checklist.

    Attributes:
        name: The name of the check.
        title: What the check requires.
        examine: Returns the evidence; an error is evidence of a failure.
    """

    name: CheckName
    title: str
    examine: Callable[[System], Evidence]


@dataclass(frozen=True)
class Gate:
    """A transition between two phases: its title and its checks."""

    title: str
    checks: tuple[Check, ...]


GATES = {
    "1": Gate(
        "Data to model",
        (
            Check("sources_documented", "All sources are documented", data.sources_documented),
            Check("data_validation", "More than 99 % of the rows pass validation", data.data_validation),
            Check("data_versioned", "The training data is versioned", data.data_versioned),
            Check("feature_store", "The feature store is configured and filled", data.feature_store),
            Check("features_approved", "The features are approved", data.features_approved),
            Check("model_requirements", "There are requirements with baselines", data.model_requirements),
            Check("requirements_approved", "The requirements are approved", data.requirements_approved),
        ),
    ),
    "2": Gate(
        "Model to production",
        (
            Check("training_automated", "The training is automated", model.training_automated),
            Check("baseline_metrics", "The champion meets the requirements", model.baseline_metrics),
            Check("model_registered", "The model is registered", model.model_registered),
            Check("experiment_tracked", "The training is tracked", model.experiment_tracked),
            Check("tests_pass", "All tests pass", model.tests_pass),
            Check("model_card", "The model card is published", model.model_card),
            Check("architecture_documented", "The architecture is documented", model.architecture_documented),
            Check("no_leakage", "No leakage was found", model.no_leakage),
        ),
    ),
    "3": Gate(
        "Production",
        (
            Check("model_deployed", "The endpoint serves the champion", production.model_deployed),
            Check("provenance", "The serving model has its provenance", production.provenance),
            Check("ci_cd", "Models are released by CI/CD", production.ci_cd),
            Check("rollback_tested", "A rollback was carried out", production.rollback_tested),
            Check("load_test", "The load test met the requirements", production.load_test),
            Check("infrastructure_as_code", "The infrastructure is code", production.infrastructure_as_code),
            Check("capacity", "The capacity is configured", production.capacity),
        ),
    ),
    "4": Gate(
        "Operations",
        (
            Check("dashboards", "There are dashboards and metrics", operations.dashboards),
            Check("drift_monitoring", "The newest list is monitored", operations.drift_monitoring),
            Check("alerts", "Messages reach people", operations.alerts),
            Check("retraining", "Retraining is defined", operations.retraining),
            Check("runbook", "The runbook covers each alert", operations.runbook),
            Check("restore_drill", "A restore was carried out", operations.restore_drill),
        ),
    ),
}


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


def check_readiness(system: System) -> ReadinessResult:
    """Carry out all checks. A check that raises an error has failed; the others are carried out.

    Args:
        system: The deployment, and the present time.
    """
    gates = {
        number: GateResult(title=gate.title, checks=tuple(_result(system, check) for check in gate.checks))
        for number, gate in GATES.items()
    }
    result = ReadinessResult(project=system.project.name, checked_at=system.now, gates=gates)
    log.info("readiness checked", extra={"project": result.project, "passed": result.counts()})
    return result


def _result(system: System, check: Check) -> CheckResult:
    stale_after = system.project.readiness.stale_after(check.name)
    evidence = _examine(system, check)
    return CheckResult(
        name=check.name,
        title=check.title,
        state=state_of(evidence.passed, evidence.time, system.now, stale_after),
        evidence=evidence.text,
        figure=evidence.figure,
        time=evidence.time,
        link=evidence.link,
        stale_after_days=stale_after.days,
    )


def _examine(system: System, check: Check) -> Evidence:
    try:
        return check.examine(system)
    except ChurnflowError as error:
        return Evidence(False, str(error))
    except Exception as error:
        # Only the product's own texts are known to contain no personal data.
        log.exception("check failed with an error", extra={"check": check.name})
        return Evidence(False, f"The check ended with an error ({type(error).__name__}). The log states its cause.")
