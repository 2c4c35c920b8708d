"""Warnings about a valid project: settings that are probably not intended."""

from __future__ import annotations

import math
from collections.abc import Iterator

from include.plurals import counted
from include.projects.expectations import build_expectation
from include.projects.features import Aggregate, Share
from include.projects.keep_days import longest_event_window
from include.projects.project import Project


def find_warnings(project: Project) -> Iterator[str]:
    """Return the warnings, each as one sentence that begins with the file name."""
    yield from _feature_count(project)
    yield from _warm_up(project)
    yield from _keep_days(project)
    for name in project.sources:
        if name not in project.checks:
            yield f"checks.yaml: source {name!r} has no checks; only its types, required values and keys are checked"
    used = {getattr(spec.calculation, "source", None) for spec in project.features}
    used |= {look.source for source in project.sources.values() for look in source.lookups}
    used |= {project.population.source, project.label.source}
    for name in project.sources:
        if name not in used:
            yield f"sources.yaml: source {name!r} is delivered and checked, but not used"


def invalid_expectations(project: Project) -> Iterator[str]:
    """Return one sentence for each expectation that Great Expectations rejects.

    The import of Great Expectations takes about ten seconds.
    """
    for table, checks in [*project.checks.items(), ("gold", project.gold_checks)]:
        for expectation in checks.expectations:
            try:
                build_expectation(expectation)
            except ValueError as error:
                yield f"checks.yaml: Great Expectations cannot build {expectation.type} of {table}: {error}"


def _feature_count(project: Project) -> Iterator[str]:
    count, data = len(project.features), project.requirements.data
    if data.mode != "disabled" and not data.min_features <= count <= data.max_features:
        effect = "no training will start" if data.mode == "enabled" else "every training will report it as missed"
        yield (
            f"requirements.yaml: data.min_features and max_features require {data.min_features} to {data.max_features} "
            f"features, but features.yaml has {count}: {effect}"
        )


def _warm_up(project: Project) -> Iterator[str]:
    if project.snapshots is None:
        return
    warm_up = project.snapshots.warm_up_days
    longer = [
        spec.name
        for spec in project.features
        if isinstance(spec.calculation, Aggregate | Share) and (spec.window or 0) > warm_up
    ]
    if longer:
        names = ", ".join(longer[:3]) + (", ..." if len(longer) > 3 else "")
        yield (
            f"features.yaml: the windows of {counted(len(longer), 'feature')} ({names}) are longer than "
            f"the {counted(warm_up, 'day')} of "
            "snapshots.warm_up_days: the first snapshots have less history than these windows"
        )


def _keep_days(project: Project) -> Iterator[str]:
    keep = project.keep_days
    if unlimited := [name for name, days in keep if days is None and name != "landing"]:
        yield f"project.yaml: keep_days has no period for {', '.join(unlimited)}: this data grows without limit"
    history = keep.features or math.inf
    if min(keep.bronze or math.inf, keep.silver or math.inf) < history + longest_event_window(project):
        yield (
            "project.yaml: keep_days keeps features longer than the bronze or silver rows behind them: a training "
            "cannot be reproduced from its raw data, and changed features cannot be computed for the first days"
        )
