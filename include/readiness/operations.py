"""The checks of gate 4: dashboards, drift, alerts, retraining, runbook and restore."""

from __future__ import annotations

import json
import re
from contextlib import closing
from typing import Any

from include.drills import RESTORE, read_drill
from include.lake.table_names import MESSAGES_TABLE, SCORES_TABLE
from include.monitoring.alerts import Addresses, run_failure
from include.monitoring.history import read_history
from include.monitoring.incident_facts import KINDS
from include.monitoring.message_store import MessageStore
from include.monitoring.results import RESULT_FILE, day_dir, read_result, result_days
from include.plurals import counted
from include.readiness.system import Evidence, System, modified
from include.serving.deployment.client import EndpointClient

_RULES = "docker/prometheus/rules.yml"
_LOG = "log"


def dashboards(system: System) -> Evidence:
    """Check that there are dashboards and alert rules, and that the endpoint exports its metrics."""
    rules = _alert_rules(system)
    boards = {}
    for file in sorted((system.root / "docker/grafana/dashboards").glob("*.json")):
        board = json.loads(file.read_text(encoding="utf-8"))
        boards[board["title"]] = len(board["panels"])
    url = system.settings.serving.url
    with closing(EndpointClient(url, system.settings.serving.api_key)) as client:
        failures = client.failures()
    panels = ", ".join(f"{title} ({counted(number, 'panel')})" for title, number in boards.items())
    return Evidence(
        passed=bool(boards) and bool(rules),
        text=f"Dashboards: {panels or 'none'}. {_RULES} has {counted(len(rules), 'alert rule')}. {url}/metrics "
        f"answers; {counted(failures, 'request')} failed inside the endpoint since its start.",
        figure=counted(len(boards), "dashboard"),
        time=system.now,
        link=f"{url}/metrics",
    )


def drift_monitoring(system: System) -> Evidence:
    """Check that the newest retention list has been monitored."""
    scored = max(system.lake.table(SCORES_TABLE).days(), default=None)
    if scored is None:
        return Evidence(False, "No day has been scored.")
    reports_dir = system.settings.reports_dir
    monitored = max(result_days(reports_dir), default=None)
    if monitored is None or monitored < scored:
        last = f"the newest monitored day is {monitored}" if monitored else "no day has been monitored"
        return Evidence(False, f"The list of {scored} has not been monitored; {last}.")
    result = read_result(reports_dir, monitored)
    drift = result["drift"]
    return Evidence(
        passed=True,
        text=f"{monitored}, the newest scored day, was compared with the training data of version "
        f"{result['model_version']}: {'drift' if drift['drifted'] else 'no drift'}.",
        figure=f"severity {drift['severity']:.1f}",
        time=modified(day_dir(reports_dir, monitored) / RESULT_FILE),
        link=system.report(f"drift/{monitored}/index.html"),
    )


def alerts(system: System) -> Evidence:
    """Check that the newest message was delivered to Slack, and not only to the log."""
    messages = MessageStore(system.settings).read()
    if not messages:
        return Evidence(False, "No message has been sent yet. A failed run sends one.")
    newest = messages[-1]
    place = newest.delivered.channel if newest.delivered else ""
    waiting = sum(message.state != "sent" for message in messages)
    if not place:
        return Evidence(False, f"{counted(waiting, 'message')} could not be sent yet; the newest is of {newest.day}.")
    connection = system.settings.alerts.slack_conn_id
    where = f"only written to the log. Set up the Airflow connection {connection}" if place == _LOG else "sent to Slack"
    return Evidence(
        passed=place != _LOG and not waiting,
        text=f"The newest message, of {newest.day}, was {where}. {counted(waiting, 'message')} could not be sent yet.",
        figure=f"{len(messages) - waiting} of {counted(len(messages), 'message')}",
        time=system.lake.table(MESSAGES_TABLE).written_at(),
    )


def retraining(system: System) -> Evidence:
    """Check that the newest monitored day has a decision on retraining."""
    reports_dir, rules = system.settings.reports_dir, system.project.monitoring
    newest = max(result_days(reports_dir), default=None)
    if newest is None:
        return Evidence(False, "No day has been monitored, so no decision on a training has been made.")
    result = read_result(reports_dir, newest)
    requested = [day.day for day in read_history(reports_dir) if day.retrain_reason]
    last = f"The last request is of {requested[-1]}." if requested else "No monitored day has requested a training."
    decision = result["retrain_reason"] or result["retrain_refusal"]
    return Evidence(
        passed=decision is not None,
        text=f"monitoring.yaml: decay requests a training, and drift if it changes the expected saving by more than "
        f"{rules.retrain_saving_change:.0%}, at most every {counted(rules.retrain_cooldown_days, 'day')}. Decision of "
        f"{newest}: {decision or 'none'} {last}",
        figure="requested" if result["retrain_reason"] else "not requested",
        time=modified(day_dir(reports_dir, newest) / RESULT_FILE),
        link=system.report(f"drift/{newest}/index.html"),
    )


def runbook(system: System) -> Evidence:
    """Check that each alert rule and each kind of message names an existing section of the documentation."""
    named = {rule["alert"]: rule["annotations"].get("runbook", "") for rule in _alert_rules(system)}
    named |= {kind: Addresses().section(kind) for kind in KINDS}
    named["failed run"] = dict(run_failure("", "", {}, "", "", Addresses()).links)["Runbook"]
    files = {link.partition("#")[0] for link in named.values()}
    sections = {f"{file}#{anchor}" for file in files if file for anchor in _anchors(system.text(file))}
    missing = [name for name, link in named.items() if link not in sections]
    return Evidence(
        passed=not missing,
        text=f"There is no section for {', '.join(missing)}."
        if missing
        else f"Each alert rule and each kind of message has a section in {' or '.join(sorted(files))}.",
        figure=f"{len(named) - len(missing)} of {counted(len(named), 'section')}",
        time=system.now,
    )


def restore_drill(system: System) -> Evidence:
    """Check that the last restore drill succeeded."""
    record = read_drill(system.settings.home, RESTORE)
    if record is None:
        return Evidence(False, f"No restore is recorded in {system.settings.home / 'drills'}.")
    figures = ", ".join(f"{name} {value}" for name, value in record.figures.items())
    outcome = "succeeded" if record.passed else "failed"
    return Evidence(record.passed, f"The last restore {outcome}.", figures, record.carried_out)


def _alert_rules(system: System) -> list[dict[str, Any]]:
    return [rule for group in system.document(_RULES)["groups"] for rule in group["rules"]]


def _anchors(markdown: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", markdown, flags=re.MULTILINE)
    return {heading.lower().replace(" ", "-") for heading in headings}
