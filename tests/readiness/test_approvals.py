"""An approval counts for the content that a person has approved, and no longer."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from include.projects import Project
from include.projects.readiness import Approval, Readiness, Subject
from include.readiness.approvals import checksum, find_approval
from include.readiness.system import System
from tests.readiness.conftest import with_project

SUBJECTS: tuple[Subject, ...] = ("features", "requirements")


def approval(system: System, subject: Subject, age_days: int = 0, **changes: Any) -> Approval:
    day = system.now.date() - dt.timedelta(days=age_days)
    content = {"what": subject, "by": "Ada", "on": day, "of": checksum(system.project, subject)}
    return Approval.model_validate(content | changes)


def approved(system: System, *approvals: Approval) -> System:
    return with_project(system, readiness=Readiness(approvals=list(approvals)))


@pytest.mark.parametrize("subject", SUBJECTS)
def test_content_without_an_approval_is_not_approved_and_the_evidence_has_the_entry_to_add(
    system: System, subject: Subject
) -> None:
    found = find_approval(system, subject)
    assert not found.passed
    assert f"what: {subject}" in found.text
    assert checksum(system.project, subject) in found.text


@pytest.mark.parametrize("subject", SUBJECTS)
def test_approved_content_passes_with_the_person_and_the_day_of_the_newest_approval(
    system: System, subject: Subject
) -> None:
    found = find_approval(
        approved(system, approval(system, subject, 3, by="Grace"), approval(system, subject, 9)), subject
    )
    assert found.passed
    assert "Grace approved" in found.text
    assert found.time is not None
    assert found.time.date() == system.now.date() - dt.timedelta(days=3)


def changed_description(project: Project) -> Project:
    first, *others = project.feature_families
    return project.model_copy(update={"feature_families": [first.model_copy(update={"description": "Other"}), *others]})


def changed_limit(project: Project) -> Project:
    metrics = project.requirements.metrics.model_copy(update={"recall": 0.1})
    return project.model_copy(update={"requirements": project.requirements.model_copy(update={"metrics": metrics})})


def changed_zone(project: Project) -> Project:
    return project.model_copy(update={"timezone": "Europe/Berlin"})


@pytest.mark.parametrize(
    ("subject", "change"),
    [("features", changed_description), ("features", changed_zone), ("requirements", changed_limit)],
)
def test_approval_ends_with_a_change_of_the_content(system: System, subject: Subject, change: Any) -> None:
    before = approved(system, approval(system, subject))
    after = System(before.settings, change(before.project), before.now)
    assert find_approval(before, subject).passed
    found = find_approval(after, subject)
    assert not found.passed
    assert "The last approval, by Ada" in found.text


def test_approval_of_one_file_does_not_depend_on_the_other(system: System) -> None:
    before = approved(system, approval(system, "features"))
    assert find_approval(System(before.settings, changed_limit(before.project), before.now), "features").passed
    assert not find_approval(before, "requirements").passed


def test_approval_of_a_future_day_does_not_count(system: System) -> None:
    found = find_approval(approved(system, approval(system, "features", -1)), "features")
    assert not found.passed
    assert "future" in found.text
