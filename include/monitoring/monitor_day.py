"""Monitor one day: drift, realised and expected performance, and served predictions, as one task."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from include.lake import Lake, open_lake
from include.lake.table_names import FEATURES_TABLE
from include.logs import get_logger
from include.monitoring.day_verdict import DayVerdict, judge_day
from include.monitoring.drift_report import PAGE, write_evidently, write_page
from include.monitoring.expected import expected_performance
from include.monitoring.performance import deployed_evaluations, realised_performance
from include.monitoring.results import KIND, day_dir, read_result, result_days, write_result
from include.monitoring.retraining import retrain_decision, saving_change
from include.monitoring.root_cause import root_causes
from include.monitoring.served import monitor_served
from include.monitoring.windows import latest_rows, new_columns, with_scores
from include.projects import Project
from include.retention.retention_list import deployed_bento
from include.serving.deployment.bento_store import load_model
from include.settings import Settings
from include.training.lineage import record_model_read
from include.training.model.bundle import Bundle
from include.training.model.reference_profile import ReferenceProfile, read_profile

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
        ``expected_saving_usd_per_1000`` (see ``SavingChange``), ``requests_training`` (whether this monitoring requests
        a training), ``retrain_reason`` (of the request of the day, by this or an earlier monitoring) and
        ``retrain_refusal`` (see ``RetrainDecision``), ``report`` (relative to the reports' folder), ``seconds``.

    Raises:
        ScoringError: No model is deployed.
        BundleError: The deployed model has no reference profile.
        WindowError: Gold has no rows of the day.
    """
    start = time.perf_counter()
    lake, folder = open_lake(settings), day_dir(settings.reports_dir, day)
    deployed = deployed_bento(settings)
    bundle, version = load_model(deployed, settings), deployed.model_version
    record_model_read(settings, version, bundle.contract)
    contract, profile = bundle.contract, read_profile(bundle)
    judged = judge_day(project, lake, bundle, profile, settings.reports_dir, day)
    drifted = [*judged.verdict.shown.drifted_features, *judged.verdict.shown.informing_features]
    evaluations = deployed_evaluations(settings)
    performance = realised_performance(lake, project, evaluations, day)
    expected = expected_performance(lake, project, evaluations, day)
    served = monitor_served(lake, project, version, day, profile)
    saving = saving_change(project, profile, judged.scores)
    result: dict[str, Any] = {
        "format": 1,
        "project": project.name,
        "day": str(day),
        "model_version": version,
        "trained_through": str(contract.trained_through),
        "evaluated_through": str(contract.evaluation.trained_through) if contract.evaluation else None,
        "drift": judged.verdict.as_dict(),
        "root_causes": root_causes(project, [feature.name for feature in drifted], judged.sources),
        "sources": [source.as_dict() for source in judged.sources],
        "performance": performance.as_dict(),
        "expected": expected.as_dict(),
        "expected_saving_usd_per_1000": asdict(saving),
        "served": served.as_dict(),
        "reference_days": [str(present) for present in profile.days],
        "reference_rows": profile.rows,
        "snapshot_pairs": profile.pairs,
        "current_days": [str(present) for present in judged.shown_days],
        "new_columns": new_columns(lake, contract),
        "left_out": list(profile.left_out),
        "evidently": _draw(project, lake, bundle, profile, judged, folder),
        "report": f"{KIND}/{day}/{PAGE}",
    }
    requests = _requests(project, settings.reports_dir, day)
    decision = retrain_decision(project, result, saving, contract.trained_through, day, requests)
    earlier = requests.get(day)
    # An earlier monitoring with the same model may have been killed before its request, which is then repeated.
    may_request = earlier is None or (earlier["model_version"] == version and earlier.get("requests_training", True))
    result["requests_training"] = decision.reason is not None and may_request
    result["retrain_reason"] = decision.reason or (earlier["retrain_reason"] if earlier else None)
    result["retrain_refusal"] = None if result["retrain_reason"] else decision.refusal
    result["seconds"] = round(time.perf_counter() - start, 3)
    write_page(result, folder)
    write_result(settings.reports_dir, day, result)
    log.info(
        "day monitored",
        extra={
            "day": str(day),
            "model_version": version,
            "drifted": judged.verdict.drifted,
            "drifted_features": len(judged.verdict.shown.drifted_features),
            "performance": performance.reason,
            "answers": sum(model.answers for model in served.models),
            "retrain": result["requests_training"],
            "seconds": result["seconds"],
        },
    )
    return result


def _draw(
    project: Project, lake: Lake, bundle: Bundle, profile: ReferenceProfile, judged: DayVerdict, folder: Path
) -> list[str]:
    """Write Evidently's page, and return the features on it; none if gold no longer has the days of the reference."""
    if not set(profile.days) <= set(lake.table(FEATURES_TABLE).days()):
        return []
    reference = with_scores(latest_rows(lake, bundle.contract, profile.days), bundle)
    shown, monitoring = judged.verdict.shown, project.monitoring
    multiplier, sample_rows = monitoring.drift.multiplier, monitoring.sample_rows
    return write_evidently(reference, judged.shown_rows, profile, shown, multiplier, sample_rows, folder)


def _requests(project: Project, reports_dir: Path, day: dt.date) -> dict[dt.date, dict[str, Any]]:
    """Return the results that requested a training, of ``day`` and of the days within the cool-down before or after it.

    The requests are read from the results, since each request has started a training. They are not computed again,
    since labels that arrived later, or a model that was deployed later, may give another result for that day. After a
    training and a deployment, a day is scored and monitored again with the new model; the request stays in its result.
    """
    cooldown = project.monitoring.retrain_cooldown
    near = [other for other in result_days(reports_dir) if abs(other - day) < cooldown]
    results = {other: read_result(reports_dir, other) for other in near}
    return {other: result for other, result in results.items() if result.get("retrain_reason")}
