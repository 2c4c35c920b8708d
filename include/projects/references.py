"""Checks across the files of a project: references to sources, columns and features."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from include.projects.expressions import columns_in
from include.projects.features import Aggregate, Attribute, DaysSince, FeatureSpec, Ratio, Share, Trend
from include.projects.label import ColumnLabel, NoEventLabel
from include.projects.project import Project

EVENTS, REFERENCES = ("events",), ("snapshot", "changes")
_NUMBERS = ("integer", "number", "decimal", "boolean")
_ADDED = ("sum", "mean", "std", "share")
_DATES = ("date", "timestamp")

Finding = tuple[tuple[str, ...], str]
"""The location of a problem, as a path of keys below ``Project``, and its description."""


def check_references(
    project: Project, invalid_sources: Collection[str] = (), features_are_invalid: bool = False
) -> Iterator[Finding]:
    """Return the references of a project to sources, columns and features that do not exist or do not fit.

    Args:
        project: The project; it may lack parts that are invalid by themselves.
        invalid_sources: The sources that it lacks for this reason; references to them are not checked.
        features_are_invalid: Whether it lacks features for this reason; references to features are not checked then.
    """
    return _References(project, invalid_sources, features_are_invalid).problems()


class _References:
    def __init__(self, project: Project, invalid_sources: Collection[str], features_are_invalid: bool) -> None:
        self.project = project
        self.invalid_sources = invalid_sources
        self.features_are_invalid = features_are_invalid

    def problems(self) -> Iterator[Finding]:
        project = self.project
        if project.population:
            yield from self._population()
        if project.label:
            yield from self._label()
        for name in project.checks:
            yield from self._checks(name)
        for name in project.sources:
            yield from self._lookups(name)
        for name in project.derived_columns:
            yield from self._derived_columns(name)
        yield from self._features()
        if project.training:
            yield from self._segments()

    def _population(self) -> Iterator[Finding]:
        population = self.project.population
        yield from self._source(population.source, ("population", "source"), customer=True)
        source = self.project.sources.get(population.source)
        if source is None:
            return
        if (source.kind == "events") != (population.active_within_days is not None):
            yield (
                ("population", "active_within_days"),
                "is required with a source of events, and not allowed with other sources",
            )
        if population.column is not None:
            yield from self._columns([population.column], population.source, ("population", "column"))

    def _label(self) -> Iterator[Finding]:
        project, label = self.project, self.project.label
        kinds = (
            EVENTS if isinstance(label, NoEventLabel) else ("changes",) if label.kind == "becomes" else ("snapshot",)
        )
        yield from self._source(label.source, ("label", "source"), kinds=kinds, customer=True)
        if not isinstance(label, NoEventLabel):
            yield from self._columns([label.column], label.source, ("label", "column"))
        yield from self._time()
        if project.requirements and project.requirements.target != label.name:
            yield ("requirements", "target"), f"is not the label's name, {label.name!r}"

    def _time(self) -> Iterator[Finding]:
        project, training = self.project, self.project.training
        if project.has_time != (project.snapshots is not None):
            yield ("snapshots",), "is required, except with a label of kind column, where it is not allowed"
        if training and project.has_time != bool(training.test_snapshots):
            yield (
                ("training", "test_snapshots"),
                "is required, except with a label of kind column, where it is not allowed",
            )
        if training and project.has_time == bool(training.test_share):
            yield (
                ("training", "test_share"),
                "is required with a label of kind column, and not allowed with other labels",
            )

    def _checks(self, name: str) -> Iterator[Finding]:
        where = ("checks", name)
        yield from self._source(name, where)
        for key in self.project.checks[name].foreign_keys:
            inner = (*where, "foreign_keys")
            yield from self._source(key.source, inner, kinds=REFERENCES)
            yield from self._columns([key.column], name, inner)
            yield from self._columns([key.references], key.source, inner)

    def _lookups(self, name: str) -> Iterator[Finding]:
        where = ("sources", name, "lookups")
        for look in self.project.sources[name].lookups:
            yield from self._source(look.source, where, kinds=("snapshot",))
            if look.source in self.project.sources:
                own = self.project.sources[look.source].columns
                yield from self._missing([look.by, *look.columns], own, look.source, where)

    def _derived_columns(self, name: str) -> Iterator[Finding]:
        where = ("derived_columns", name)
        yield from self._source(name, where)
        if name not in self.project.sources:
            return
        known = self.project.sources[name].column_names()
        for column in self.project.derived_columns[name]:
            if column.name in known:
                yield (*where, column.name), "is already a column of the source"
            yield from self._missing(columns_in(column.sql), known, name, (*where, column.name))
            known = known | {column.name}

    def _features(self) -> Iterator[Finding]:
        seen: dict[str, FeatureSpec] = {}
        for spec in self.project.features:
            where = ("feature_families", spec.name)
            if spec.name in seen:
                yield where, "is used twice as a name"
            calculation = spec.calculation
            if isinstance(calculation, Ratio | Trend):
                yield from self._parts(where, calculation, seen)
            else:
                kinds = REFERENCES if isinstance(calculation, Attribute | DaysSince) else EVENTS
                inner = (*where, "calculation", "source")
                yield from self._source(calculation.source, inner, kinds=kinds, customer=True)
                yield from self._columns(_used_columns(calculation), calculation.source, where)
                yield from self._types(where, spec, calculation)
            if isinstance(calculation, Aggregate) and spec.dtype == "category":
                yield where, "is an aggregation, so it is a number and cannot have categories"
            seen[spec.name] = spec

    def _segments(self) -> Iterator[Finding]:
        where, names = ("training", "segments"), self.project.training.segments
        known = {spec.name for spec in self.project.features}
        for name in sorted(set(names)):
            if names.count(name) > 1:
                yield where, f"names feature {name!r} twice"
            if name not in known and not self.features_are_invalid:
                yield where, f"names the unknown feature {name!r}"

    def _parts(
        self, where: tuple[str, ...], calculation: Ratio | Trend, seen: dict[str, FeatureSpec]
    ) -> Iterator[Finding]:
        ratio = isinstance(calculation, Ratio)
        parts = (calculation.numerator, calculation.denominator) if ratio else (calculation.near, calculation.far)  # type: ignore[union-attr]
        for part in parts:
            if part not in seen:
                if not self.features_are_invalid:
                    yield where, f"uses feature {part!r}, which is not defined before it"
            elif not ratio and seen[part].window is None:
                yield where, f"uses the rate per day of feature {part!r}, which has no window"

    def _types(
        self, where: tuple[str, ...], spec: FeatureSpec, calculation: Aggregate | Share | Attribute | DaysSince
    ) -> Iterator[Finding]:
        types = self.project.column_types(calculation.source)
        measured = calculation.of if isinstance(calculation, Share) else calculation.column
        kind = types.get(measured or "")
        if kind is None:
            return
        use = f"uses column {measured!r}, which is of type {kind}"
        if isinstance(calculation, Attribute):
            if kind in _DATES:
                yield where, f"{use}: use the function days_since"
            elif kind == "string" and not spec.categories:
                yield where, f"{use}: list its texts under validation.categories"
            label = self.project.label
            if isinstance(label, ColumnLabel) and (label.source, label.column) == (calculation.source, measured):
                yield where, "uses the label's own column, which reveals the label to the model"
        elif isinstance(calculation, DaysSince):
            if kind not in _DATES:
                yield where, f"{use}, not a date"
        elif calculation.function != "count_distinct" and kind not in _NUMBERS:
            yield where, f"{use}, not a number"
        elif calculation.function in _ADDED and kind == "number":
            yield (
                where,
                f"{use}: such sums depend on the order of rows; declare the column (or a derived column) as decimal",
            )

    def _columns(self, wanted: Iterable[str], source: str, where: tuple[str, ...]) -> Iterator[Finding]:
        if source in self.project.sources:
            yield from self._missing(wanted, self.project.columns_of(source), source, where)

    def _missing(
        self, wanted: Iterable[str], present: Iterable[str], source: str, where: tuple[str, ...]
    ) -> Iterator[Finding]:
        for column in sorted(set(wanted) - set(present)):
            yield where, f"names column {column!r}, which source {source!r} does not have"

    def _source(
        self, name: str, where: tuple[str, ...], *, kinds: tuple[str, ...] = (), customer: bool = False
    ) -> Iterator[Finding]:
        sources = self.project.sources
        if name in self.invalid_sources:
            return
        if name not in sources:
            yield where, f"names the unknown source {name!r}; sources.yaml has {sorted(sources)}"
            return
        if kinds and sources[name].kind not in kinds:
            yield where, f"names source {name!r}, which must be of kind {' or '.join(kinds)}"
        if customer and sources[name].customer is None:
            yield where, f"names source {name!r}, which has no customer column"


def _used_columns(calculation: Aggregate | Share | Attribute | DaysSince) -> set[str]:
    if isinstance(calculation, Share):
        return {calculation.column, *filter(None, [calculation.of])}
    if isinstance(calculation, Aggregate):
        condition = columns_in(calculation.where) if calculation.where else set()
        return {*filter(None, [calculation.column]), *condition}
    return {calculation.column}
