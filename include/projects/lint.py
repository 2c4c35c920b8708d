"""What is odd about a project that is valid: things that will disappoint later, and that nobody may have meant."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

from include.projects.conditions import parse_condition
from include.projects.features import Aggregate, Share
from include.projects.project import Project
from include.projects.sources import Checks


def find_warnings(project: Project) -> Iterator[str]:
    """Return what is odd, each in a sentence that begins with the file concerned."""
    yield from _number_of_features(project)
    yield from _windows(project)
    for name in project.sources:
        if name not in project.checks:
            yield f"checks.yaml: source {name!r} has no checks of its own; only types, required values and keys hold"
    used = {getattr(spec.calculation, "source", None) for spec in project.features}
    used |= {look.source for source in project.sources.values() for look in source.lookups}
    used |= {project.population.source, project.label.source}
    for name in project.sources:
        if name not in used:
            yield f"sources.yaml: source {name!r} is delivered and checked, and nothing uses it"
    drifting = [spec for spec in project.features if not spec.drifts_by_construction]
    if project.monitoring.min_drifted_features > len(drifting):
        yield (
            f"monitoring.yaml: min_drifted_features is {project.monitoring.min_drifted_features}, and only "
            f"{len(drifting)} features are watched: no drift will ever be reported"
        )


def unknown_expectations(project: Project) -> Iterator[str]:
    """Return the expectations that Great Expectations does not know, or not with these arguments.

    Importing Great Expectations takes some ten seconds.
    """
    for table, checks in [*project.checks.items(), ("gold", project.gold_checks)]:
        yield from _unknown(table, checks)


def _number_of_features(project: Project) -> Iterator[str]:
    count, data = len(project.features), project.requirements.data
    if data.mode != "disabled" and not data.min_features <= count <= data.max_features:
        effect = "no training will start" if data.mode == "enabled" else "every training will report it as missed"
        yield (
            f"requirements.yaml: data.min_features and max_features ask for {data.min_features} to {data.max_features} "
            f"features, features.yaml has {count}: {effect}"
        )


def _windows(project: Project) -> Iterator[str]:
    if project.snapshots is None:
        return
    warm_up = project.snapshots.warm_up_days
    longer = [
        spec
        for spec in project.features
        if isinstance(spec.calculation, Aggregate | Share) and (spec.window or 0) > warm_up
    ]
    if longer:
        names = ", ".join(spec.name for spec in longer[:3]) + (", ..." if len(longer) > 3 else "")
        yield (
            f"features.yaml: {len(longer)} features ({names}) look back further than the {warm_up} days of "
            "snapshots.warm_up_days: the first snapshots see less than their windows"
        )


def _unknown(table: str, checks: Checks) -> Iterator[str]:
    # Both must be set before the import: it phones home, and logs some 200 lines about expectations it skips.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    import great_expectations  # noqa: F401 - fills the registry
    from great_expectations.exceptions.exceptions import ExpectationNotFoundError
    from great_expectations.expectations.registry import get_expectation_impl
    from pydantic.v1 import ValidationError

    for expectation in checks.expectations:
        arguments = dict(expectation.arguments)
        try:
            if "row_condition" in arguments:
                arguments["row_condition"] = parse_condition(arguments["row_condition"])
            get_expectation_impl(expectation.type)(**arguments)
        except (ExpectationNotFoundError, ValidationError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[-1].strip()
            yield f"checks.yaml: Great Expectations cannot build {expectation.type} of {table}: {reason}"
