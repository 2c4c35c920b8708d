"""What each feature and the label were defined as when a day of gold was built, kept beside it.

Whoever changes ``features.yaml`` changes the days that are built from then on. Rows of both kinds in one training set
would tell their age: a feature that is absent in the older days, or means something else there.
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
    """Keep that gold of each day was built as ``project`` defines it now, and how many rows that made."""
    _mark(lake, GOLD_DAYS_TABLE, list(rows), gold_definitions(project), rows=pa.array(rows.values(), pa.int64()))


def mark_labelled(project: Project, lake: Lake, touched: Iterable[dt.date], labelled: Iterable[dt.date]) -> None:
    """Keep that those of the ``touched`` days that are ``labelled`` have labels as ``project`` defines them now."""
    days = sorted(labelled)
    _mark(lake, LABEL_DAYS_TABLE, days, label_definition(project), replaced=sorted({*touched, *days}))


def defined_otherwise(
    project: Project, lake: Lake, days: Sequence[dt.date]
) -> tuple[dict[dt.date, list[str]], dict[dt.date, list[str]]]:
    """Return what gold and labels of ``days`` were built with another definition of than ``project`` has now.

    Returns:
        For gold, by day, the features, and ``population`` when customers were chosen otherwise; and for labels, by
        day, the label. Days built alike are left out.
    """
    return (
        _differing(lake, GOLD_DAYS_TABLE, days, gold_definitions(project)),
        _differing(lake, LABEL_DAYS_TABLE, days, label_definition(project)),
    )


def gold_definitions(project: Project) -> dict[str, str]:
    """Return a checksum of what decides about the values of each feature, and about who gets a row.

    Descriptions and limits of validation do not; a feature that is added or removed leaves those of others as they are.
    What makes silver (keys, types, duplicates) is not part of it.
    """
    specs = {spec.name: spec for spec in project.features}
    defined = {name: _checksum(_feature(project, specs, name)) for name in specs}
    return defined | {_POPULATION: _checksum(project.population.model_dump(mode="json", exclude_defaults=True))}


def label_definition(project: Project) -> dict[str, str]:
    """Return a checksum of everything that decides about the label."""
    return {project.label.name: _checksum(project.label.model_dump(mode="json", exclude={"description"}))}


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
        [look.model_dump(mode="json") for look in project.sources[calculation.source].lookups],
    ]


def _checksum(content: object) -> str:
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
    marks = pa.table({"dt": pa.array(days, pa.date32()), **columns, _COLUMN: pa.array([text] * len(days), pa.string())})
    lake.table(table).replace(replaced or days, marks)


def _differing(lake: Lake, name: str, days: Sequence[dt.date], wanted: dict[str, str]) -> dict[dt.date, list[str]]:
    table = lake.table(name)
    kept: dict[dt.date, str | None] = {}
    if table.exists() and _COLUMN in table.schema().names:
        rows = table.read(days, ["dt", _COLUMN])
        kept = dict(zip(rows["dt"].to_pylist(), rows[_COLUMN].to_pylist(), strict=True))
    found = {}
    for day in days:
        then = json.loads(kept.get(day) or "{}")
        differing = [name for name, checksum in wanted.items() if then.get(name) != checksum]
        if differing:
            found[day] = differing
    return found
