"""Approvals of the features and of the requirements, which count only for the content that was approved."""

from __future__ import annotations

import datetime as dt
import hashlib
import json

from include.features.definitions import gold_definitions
from include.projects import Project
from include.projects.readiness import Subject
from include.projects.yaml_files import FILES
from include.readiness.system import Evidence, System


def checksum(project: Project, subject: Subject) -> str:
    """Return the checksum of the content of ``features.yaml`` or ``requirements.yaml``.

    The layout and the comments of the file have no effect. The checksum of the features also changes with everything
    else that affects their values, such as the time zone.

    Args:
        project: The project.
        subject: What is approved.
    """
    content = [project.model_dump(mode="json", exclude_defaults=True, include=set(FILES[f"{subject}.yaml"]))]
    if subject == "features":
        content.append(gold_definitions(project))
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def find_approval(system: System, subject: Subject) -> Evidence:
    """Return the newest approval of the present content of a file.

    Args:
        system: The deployment.
        subject: What is approved.
    """
    current, today = checksum(system.project, subject), system.now.date()
    given = [approval for approval in system.project.readiness.approvals if approval.what == subject]
    valid = [approval for approval in given if approval.of == current and approval.on <= today]
    file = f"{subject}.yaml"
    if not valid:
        remedy = f"After a review, add to readiness.yaml: {{what: {subject}, by: NAME, on: {today}, of: {current}}}."
        if not given:
            return Evidence(False, f"readiness.yaml contains no approval of {file}. {remedy}", current)
        last = max(given, key=lambda approval: approval.on)
        known = f"The last approval, by {last.by} on {last.on}, is of other content (checksum {last.of})."
        if last.of == current:
            known = f"The approval by {last.by} has a day in the future, {last.on}."
        return Evidence(False, f"The content of {file} is not approved. {known} {remedy}", current)
    newest = max(valid, key=lambda approval: approval.on)
    time = dt.datetime.combine(newest.on, dt.time(), dt.UTC)
    return Evidence(True, f"{newest.by} approved the present content of {file} on {newest.on}.", current, time)
