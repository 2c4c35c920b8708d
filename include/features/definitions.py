"""The feature and label definitions with which each gold day was built.

A change of ``features.yaml`` affects only the days that are built afterwards. A training set must not mix rows of
different definitions, since a feature that is missing or different in older rows reveals the age of a row.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Sequence

import pyarrow as pa

from include.lake import Lake
from include.lake.table_names import GOLD_DAYS_TABLE, LABEL_DAYS_TABLE
from include.projects import Project
from include.projects.features import FeatureSpec, Ratio, Trend

_POPULATION = "population"
_COLUMN = "definitions"


def mark_built(project: Project, lake: Lake, rows: dict[dt.date, int]) -> None:
    """Record the feature definitions and the row count of each gold day.

    Args:
        project: The project with the definitions that were used.
        lake: The lake.
        rows: The number of gold rows of each day that was built.
    """
    _mark(lake, GOLD_DAYS_TABLE, list(rows), gold_definitions(project), rows=pa.array(rows.values(), pa.int64()))


def mark_labelled(project: Project, lake: Lake, replaced: Iterable[dt.date], labelled: Iterable[dt.date]) -> None:
    """Record the label definition of the labelled days.

    Args:
        project: The project with the definition that was used.
        lake: The lake.
        replaced: The days for which earlier records are removed.
        labelled: The days that have labels now.
    """
    days = sorted(labelled)
    _mark(lake, LABEL_DAYS_TABLE, days, label_definition(project), replaced=sorted({*replaced, *days}))


def differing_definitions(
    project: Project, lake: Lake, days: Sequence[dt.date]
) -> tuple[dict[dt.date, list[str]], dict[dt.date, list[str]]]:
    """Compare the recorded definitions of gold and labels with the project's definitions.

    Args:
        project: The project.
        lake: The lake.
        days: The gold days to compare.

    Returns:
        Two mappings of days with a difference: the names of the features that differ (and ``population``, if it does),
        and the name of the label.
    """
    return (
        _differing(lake, GOLD_DAYS_TABLE, days, gold_definitions(project)),
        _differing(lake, LABEL_DAYS_TABLE, days, label_definition(project)),
    )


def gold_definitions(project: Project) -> dict[str, str]:
    """Return a checksum of the definition of each feature and of the population.

    The checksum covers everything that affects a value: not descriptions, not validation limits, not other features,
    and not the rules that build silver (keys, types, duplicates).
    """
    specs = {spec.name: spec for spec in project.features}
    defined = {name: _checksum(project, _feature(project, specs, name)) for name in specs}
    population = project.population.model_dump(mode="json", exclude_defaults=True)
    return defined | {_POPULATION: _checksum(project, population)}


def label_definition(project: Project) -> dict[str, str]:
    """Return a checksum of everything that affects the label."""
    label = project.label.model_dump(mode="json", exclude={"description"})
    if project.has_time:
        label["lateness_days"] = project.lateness_days
    return {project.label.name: _checksum(project, label)}


def _feature(project: Project, specs: dict[str, FeatureSpec], name: str) -> object:
    spec = specs[name]
    calculation = spec.calculation
    if isinstance(calculation, Ratio):
        of = [_feature(project, specs, part) for part in (calculation.numerator, calculation.denominator)]
        return [calculation.function, of]
    if isinstance(calculation, Trend):
        return [calculation.function, [_feature(project, specs, part) for part in (calculation.near, calculation.far)]]
    derived = project.derived_columns.get(calculation.source, [])
    return [
        calculation.model_dump(mode="json", exclude_defaults=True),
        spec.window,
        spec.dtype,
        [column.model_dump(mode="json", exclude={"description"}) for column in derived],
        [lookup.model_dump(mode="json") for lookup in project.sources[calculation.source].lookups],
    ]


def _checksum(project: Project, content: object) -> str:
    # The time zone decides the day of every event. UTC is left out, so that records of earlier versions stay valid.
    content = content if project.timezone == "UTC" else [content, project.timezone]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _mark(
    lake: Lake,
    table: str,
    days: list[dt.date],
    definitions: dict[str, str],
    replaced: list[dt.date] | None = None,
    **columns: pa.Array,
) -> None:
    text = json.dumps(definitions, sort_keys=True)
    rows = pa.table({"dt": pa.array(days, pa.date32()), **columns, _COLUMN: pa.array([text] * len(days), pa.string())})
    lake.table(table).replace(replaced or days, rows)


def _differing(lake: Lake, name: str, days: Sequence[dt.date], wanted: dict[str, str]) -> dict[dt.date, list[str]]:
    table = lake.table(name)
    recorded: dict[dt.date, str | None] = {}
    if table.exists() and _COLUMN in table.schema().names:
        rows = table.read(days, ["dt", _COLUMN])
        recorded = dict(zip(rows["dt"].to_pylist(), rows[_COLUMN].to_pylist(), strict=True))
    found = {}
    for day in days:
        definitions = json.loads(recorded.get(day) or "{}")
        differing = [name for name, checksum in wanted.items() if definitions.get(name) != checksum]
        if differing:
            found[day] = differing
    return found
