"""Monitor one day: drift, realised and expected performance, and served predictions, as one task."""

from __future__ import annotations

import datetime as dt
import time
from typing import Any

from include.lake import open_lake
from include.logs import get_logger
from include.monitoring.drift import DayDrift, detect_drift, judge
from include.monitoring.drift_report import PAGE, write_evidently, write_page
from include.monitoring.evaluations import deployed_evaluations
from include.monitoring.expected import expected_performance
from include.monitoring.performance import realised_performance
from include.monitoring.results import KIND, day_dir, read_result, result_days, write_result
from include.monitoring.retraining import retrain_request, settling_time
from include.monitoring.root_cause import root_causes
from include.monitoring.served import monitor_served
from include.monitoring.source_health import counting_sources, source_health, source_severity
from include.monitoring.source_rows import read_source_rows
from include.monitoring.windows import current_window, judged_days, new_columns, reference_window, with_scores
from include.projects import Project
from include.retention.retention_list import deployed_bento
from include.settings import Settings
from include.training.model.reference_profile import read_profile

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
        ``evaluated_through``, ``drift`` (see ``DriftVerdict``), ``root_causes`` (sentences; see ``root_causes``),
        ``sources`` (see ``SourceHealth``), ``performance`` (see ``Performance``), ``expected`` (see ``Expected``),
        ``served`` (see ``Served``), ``reference_days`` and ``reference_rows`` (of the reference profile),
        ``snapshot_pairs`` (see ``ReferenceProfile``), ``current_days``, ``new_columns`` (columns of gold that the model
        does not use), ``left_out`` (features that change with time), ``evidently`` (the features that Evidently draws),
        ``retrain_reason`` (None if no training is requested), ``report`` (relative to the reports' folder),
        ``seconds``.

    Raises:
        ScoringError: No model is deployed.
        BundleError: The deployed model has no reference profile.
        WindowError: Gold has no rows of the day.
    """
    start = time.perf_counter()
    lake, folder = open_lake(settings), day_dir(settings.reports_dir, day)
    deployed = deployed_bento(settings)
    bundle, version = deployed.load_bundle(), deployed.model_version
    contract, profile, limits = bundle.contract, read_profile(bundle), project.monitoring.drift
    # The last days are compared again, so the verdict depends neither on earlier results nor on their order.
    found: dict[dt.date, DayDrift] = {}
    compared: dict[tuple[dt.date, ...], DayDrift] = {}
    for judged in judged_days(lake, day, limits.of_days if project.has_time else 1):
        current = current_window(lake, project, contract, judged)
        if current.days not in compared:  # the days between two snapshots have the same window
            rows = with_scores(current.rows, bundle)
            compared[current.days] = detect_drift(profile, rows, limits)
        found[judged] = compared[current.days]
    influences = {name: feature.influence for name, feature in profile.features.items()}
    counting, deliveries = counting_sources(project, influences), read_source_rows(lake, project, day)
    trained = contract.trained_through
    severities = {judged: source_severity(deliveries, counting, project, trained, judged) for judged in found}
    verdict = judge(found, limits, project.has_time, severities)
    sources = source_health(lake, project, deliveries, counting, settings.reports_dir, trained, day)
    drifted = [*verdict.latest.drifted_features, *verdict.latest.informing_features]
    reference = reference_window(lake, contract, profile)
    evaluations = deployed_evaluations(settings)
    performance = realised_performance(lake, project, evaluations, day)
    expected = expected_performance(lake, project, evaluations, day)
    served = monitor_served(lake, project, version, day, profile)
    result: dict[str, Any] = {
        "format": 1,
        "project": project.name,
        "day": str(day),
        "model_version": version,
        "trained_through": str(trained),
        "evaluated_through": str(contract.evaluation.trained_through) if contract.evaluation else None,
        "drift": verdict.as_dict(),
        "root_causes": root_causes(project, [feature.name for feature in drifted], sources),
        "sources": [source.as_dict() for source in sources],
        "performance": performance.as_dict(),
        "expected": expected.as_dict(),
        "served": served.as_dict(),
        "reference_days": [str(present) for present in profile.days],
        "reference_rows": profile.rows,
        "snapshot_pairs": profile.pairs,
        "current_days": [str(present) for present in current.days],
        "new_columns": new_columns(lake, contract),
        "left_out": list(profile.left_out),
        "evidently": write_evidently(
            with_scores(reference.rows, bundle),
            rows,
            profile,
            verdict.latest,
            limits.multiplier,
            project.monitoring.sample_rows,
            folder,
        )
        if reference
        else [],
        "report": f"{KIND}/{day}/{PAGE}",
    }
    result["retrain_reason"] = retrain_request(project, result, trained, day, _requested_days(project, settings, day))
    result["seconds"] = round(time.perf_counter() - start, 3)
    write_page(result, folder)
    write_result(settings.reports_dir, day, result)
    log.info(
        "day monitored",
        extra={
            "day": str(day),
            "model_version": version,
            "drifted": verdict.drifted,
            "drifted_features": len(verdict.latest.drifted_features),
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
