"""Monitor one day: drift, realised and expected performance, and served predictions, as one task."""

from __future__ import annotations

import datetime as dt
import time
from typing import Any

from include.lake import open_lake
from include.logs import get_logger
from include.monitoring.drift import detect_drift
from include.monitoring.drift_report import PAGE, write_evidently, write_page
from include.monitoring.evaluations import deployed_evaluations
from include.monitoring.expected import expected_performance
from include.monitoring.performance import realised_performance
from include.monitoring.results import KIND, day_dir, read_result, result_days, write_result
from include.monitoring.retraining import retrain_request, settling_time
from include.monitoring.served import monitor_served
from include.monitoring.windows import current_window, monitored_features, reference_window
from include.projects import Project
from include.retention.retention_list import deployed_bento
from include.settings import Settings

log = get_logger(__name__)


def monitor_day(project: Project, settings: Settings, day: dt.date) -> dict[str, Any]:
    """Detect drift between training and ``day``, evaluate matured scores, and write the result and its reports.

    Monitoring a day again replaces its files. All steps are one function, and therefore one task, because the import of
    Evidently takes longer than the steps.

    Args:
        project: The project's features, label and monitoring rules.
        settings: The lake, the reports' folder and the deployed model.
        day: A scored day.

    Returns:
        The content of ``result.json``: ``project``, ``day``, ``model_version``, ``trained_through``,
        ``evaluated_through``, ``drift`` (see ``DriftVerdict``), ``performance`` (see ``Performance``),
        ``expected`` (see ``Expected``), ``served`` (see ``Served``), ``reference_days``, ``current_days``,
        ``evidently_left_out``, ``retrain_reason`` (None if no training is requested), ``report`` (relative to the
        reports' folder), ``seconds``.

    Raises:
        ScoringError: No model is deployed.
        WindowError: Gold has no rows for one of the windows.
        DriftError: The windows cannot be compared.
    """
    start = time.perf_counter()
    lake, folder = open_lake(settings), day_dir(settings.reports_dir, day)
    deployed = deployed_bento(settings)
    contract, version = deployed.load_bundle().contract, deployed.model_version
    reference, current = reference_window(lake, project, contract), current_window(lake, project, contract, day)
    features = monitored_features(project, contract)
    verdict = detect_drift(reference.rows, current.rows, features, project.monitoring)
    drawn = [spec for spec in features if spec.name not in verdict.left_out]
    evaluations = deployed_evaluations(settings)
    performance = realised_performance(lake, project, evaluations, day)
    expected = expected_performance(lake, project, evaluations, day)
    served = monitor_served(lake, project, version, day, reference.rows, features)
    result: dict[str, Any] = {
        "format": 1,
        "project": project.name,
        "day": str(day),
        "model_version": version,
        "trained_through": str(contract.trained_through),
        "evaluated_through": str(contract.evaluation.trained_through) if contract.evaluation else None,
        "drift": verdict.as_dict(),
        "performance": performance.as_dict(),
        "expected": expected.as_dict(),
        "served": served.as_dict(),
        "reference_days": [str(present) for present in reference.days],
        "current_days": [str(present) for present in current.days],
        "evidently_left_out": write_evidently(
            reference.rows, current.rows, drawn, project.monitoring.sample_rows, folder
        ),
        "report": f"{KIND}/{day}/{PAGE}",
    }
    result["retrain_reason"] = retrain_request(
        project, result, contract.trained_through, day, _requested_days(project, settings, day)
    )
    result["seconds"] = round(time.perf_counter() - start, 3)
    write_page(result, folder)
    write_result(settings.reports_dir, day, result)
    log.info(
        "day monitored",
        extra={
            "day": str(day),
            "model_version": version,
            "drifted": verdict.drifted,
            "drifted_features": len(verdict.drifted_features),
            "performance": performance.reason,
            "answers": sum(model.answers for model in served.models),
            "retrain": result["retrain_reason"] is not None,
            "seconds": result["seconds"],
        },
    )
    return result


def _requested_days(project: Project, settings: Settings, day: dt.date) -> list[dt.date]:
    recent = day - settling_time(project)
    days = [earlier for earlier in result_days(settings.reports_dir) if recent < earlier < day]
    results = {earlier: read_result(settings.reports_dir, earlier) for earlier in days}
    return [earlier for earlier, result in results.items() if result.get("retrain_reason")]
