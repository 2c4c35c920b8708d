"""Checks across the files of a project: whatever one of them names, another one has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from include.projects.expressions import columns_in
from include.projects.features import Aggregate, Attribute, DaysSince, FeatureSpec, Ratio, Share, Trend
from include.projects.model import NoEventLabel

if TYPE_CHECKING:
    from include.projects.project import Project

EVENTS, REFERENCES = ("events",), ("snapshot", "changes")


def check_references(project: Project) -> None:
    """Refuse a project that names a source, column or feature which it does not have.

    Raises:
        ValueError: The message starts with the key concerned.
    """
    _check_population(project)
    _check_label(project)
    for name, checks in project.checks.items():
        _require_source(project, name, f"checks.{name}")
        for key in checks.foreign_keys:
            where = f"checks.{name}.foreign_keys"
            _require_source(project, key.source, where, kinds=REFERENCES)
            _require_columns([key.column], project.sources[name].columns, name, where)
            _require_columns([key.references], project.sources[key.source].columns, key.source, where)
    for name, source in project.sources.items():
        where = f"sources.{name}.lookups"
        for look in source.lookups:
            _require_source(project, look.source, where, kinds=("snapshot",))
            _require_columns([look.by, *look.columns], project.sources[look.source].columns, look.source, where)
    _check_derived_columns(project)
    _check_features(project)


def _check_population(project: Project) -> None:
    population = project.population
    _require_source(project, population.source, "population.source", customer=True)
    source = project.sources[population.source]
    if (source.kind == "events") != (population.active_within_days is not None):
        raise ValueError("population.active_within_days: is needed with a source of events, and only with one")
    if population.column is not None:
        _require_columns([population.column], source.columns, population.source, "population.column")


def _check_label(project: Project) -> None:
    label = project.label
    kinds = EVENTS if isinstance(label, NoEventLabel) else ("changes",) if label.kind == "becomes" else ("snapshot",)
    _require_source(project, label.source, "label.source", kinds=kinds, customer=True)
    if not isinstance(label, NoEventLabel):
        _require_columns([label.column], project.sources[label.source].columns, label.source, "label.column")
    if project.has_time and project.snapshots is None:
        raise ValueError("snapshots: is needed, except with a label of kind column")


def _check_derived_columns(project: Project) -> None:
    for name, columns in project.derived_columns.items():
        where = f"derived_columns.{name}"
        _require_source(project, name, where)
        known = project.sources[name].column_names()
        for column in columns:
            if column.name in known:
                raise ValueError(f"{where}.{column.name}: the source has such a column already")
            _require_columns(columns_in(column.sql), known, name, f"{where}.{column.name}")
            known = known | {column.name}


def _check_features(project: Project) -> None:
    seen: dict[str, FeatureSpec] = {}
    for spec in project.features:
        where = f"features.{spec.name}"
        if spec.name in seen:
            raise ValueError(f"{where}: the name is used twice")
        calculation = spec.calculation
        if isinstance(calculation, Ratio | Trend):
            _check_parts(where, calculation, seen)
        else:
            kinds = REFERENCES if isinstance(calculation, Attribute | DaysSince) else EVENTS
            _require_source(project, calculation.source, f"{where}.calculation.source", kinds=kinds, customer=True)
            known = project.columns_of(calculation.source)
            _require_columns(_used_columns(calculation), known, calculation.source, where)
        if isinstance(calculation, Aggregate) and spec.dtype == "category":
            raise ValueError(f"{where}: an aggregation is a number and takes no categories")
        seen[spec.name] = spec


def _check_parts(where: str, calculation: Ratio | Trend, seen: dict[str, FeatureSpec]) -> None:
    ratio = isinstance(calculation, Ratio)
    for part in (
        (calculation.numerator, calculation.denominator) if ratio else (calculation.near, calculation.far)  # type: ignore[union-attr]
    ):
        if part not in seen:
            raise ValueError(f"{where}: no feature {part!r} is defined before it")
        if not ratio and seen[part].window is None:
            raise ValueError(f"{where}: feature {part!r} has no window, so it has no rate per day")


def _used_columns(calculation: Aggregate | Share | Attribute | DaysSince) -> set[str]:
    if isinstance(calculation, Share):
        return {calculation.column, *filter(None, [calculation.of])}
    if isinstance(calculation, Aggregate):
        condition = columns_in(calculation.where) if calculation.where else set()
        return {*filter(None, [calculation.column]), *condition}
    return {calculation.column}


def _require_columns(wanted: Iterable[str], present: Iterable[str], source: str, where: str) -> None:
    missing = sorted(set(wanted) - set(present))
    if missing:
        raise ValueError(f"{where}: source {source!r} has no column {missing[0]!r}")


def _require_source(
    project: Project, name: str, where: str, *, kinds: tuple[str, ...] = (), customer: bool = False
) -> None:
    if name not in project.sources:
        raise ValueError(f"{where}: unknown source {name!r}; sources.yaml has {sorted(project.sources)}")
    if kinds and project.sources[name].kind not in kinds:
        raise ValueError(f"{where}: source {name!r} must be of kind {' or '.join(kinds)}")
    if customer and project.sources[name].customer is None:
        raise ValueError(f"{where}: source {name!r} names no customer column")
