"""Checks across the files of a project: references to sources, columns and features."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from include.projects.expressions import columns_in
from include.projects.features import Aggregate, Attribute, DaysSince, FeatureSpec, Ratio, Share, Trend
from include.projects.label import ColumnLabel, NoEventLabel
from include.projects.project import Project
from include.projects.sources import ColumnType

EVENTS, REFERENCES = ("events",), ("snapshot", "changes")
_NUMBERS = ("integer", "number", "decimal", "boolean")
_ADDED = ("sum", "mean", "std", "share")
_DATES = ("date", "timestamp")
_TEXTS: dict[ColumnType, tuple[str, str]] = {
    "string": (r"(?s).*", ""),
    "boolean": ("true|false", "Write true or false, or declare the column as string."),
    "integer": ("0|-?[1-9][0-9]*", "Write digits without plus sign or leading zeros, or declare the column as string."),
}
"""The texts that the engine gives for the values of a type, and the remedy for others; no texts for other types."""

RESERVED_SOURCES = frozenset({"features"})
"""A source of this name would share its quarantine table with gold."""
RESERVED_COLUMNS = frozenset({"dt", "rules", "self"})
"""The lake adds the day and, in quarantine, the violated rules to the columns of a source; Ibis uses ``self``."""
RESERVED_FEATURES = frozenset({"dt", "customer_id", "dt_right", "customer_id_right", "churned", "rules", "self"})
"""The names of other columns in gold, in its joins, in monitoring and in quarantine; Ibis uses ``self``."""
RESERVED_LABELS = frozenset({"dt", "customer_id", "self"})
"""The names of the other columns of ``gold/labels``; Ibis uses ``self``."""
_IS_RESERVED = "is a reserved name"


class Finding(NamedTuple):
    """A problem of a reference or of a name.

    Attributes:
        location: The path of keys below ``Project``.
        what: The problem, as the end of a sentence.
        remedy: The action that solves the problem.
    """

    location: tuple[str, ...]
    what: str
    remedy: str = "Correct the value."


def is_reserved_column(name: str) -> bool:
    """Return whether a source's column must not have this name; DuckDB ignores case in names."""
    return name.startswith("_") or name.casefold() in RESERVED_COLUMNS


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
            if name.casefold() in RESERVED_SOURCES or not re.fullmatch(r"[^\W_][\w-]*", name):
                yield Finding(
                    ("sources", name), "cannot be the name of a source", "Choose another name, of letters and digits."
                )
            yield from self._column_names(name)
            yield from self._lookups(name)
        yield from self._joined_types()
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
            yield Finding(
                ("population", "active_within_days"),
                "is required with a source of events, and not allowed with other sources",
            )
        if population.column is not None:
            yield from self._columns([population.column], population.source, ("population", "column"))
            where = ("population", "values")
            yield from self._texts(where, population.source, population.column, population.values or ())

    def _label(self) -> Iterator[Finding]:
        project, label = self.project, self.project.label
        kinds = (
            EVENTS if isinstance(label, NoEventLabel) else ("changes",) if label.kind == "becomes" else ("snapshot",)
        )
        yield from self._source(label.source, ("label", "source"), kinds=kinds, customer=True)
        if not isinstance(label, NoEventLabel):
            yield from self._columns([label.column], label.source, ("label", "column"))
            yield from self._texts(("label", "value"), label.source, label.column, [label.value])
        yield from self._time()
        if label.name.casefold() in RESERVED_LABELS:
            yield Finding(("label", "name"), _IS_RESERVED, "Choose another name for the label.")
        if isinstance(label, ColumnLabel):
            others = label.other_values or ()
            yield from self._texts(("label", "other_values"), label.source, label.column, others)
            if label.value in others:
                yield Finding(("label", "other_values"), f"contains {label.value!r}, which means churned", "Remove it.")
        if project.requirements and project.requirements.target != label.name:
            yield Finding(("requirements", "target"), f"is not the label's name, {label.name!r}")

    def _time(self) -> Iterator[Finding]:
        project, training = self.project, self.project.training
        if project.has_time != (project.snapshots is not None):
            yield Finding(("snapshots",), "is required, except with a label of kind column, where it is not allowed")
        if training and project.has_time != bool(training.test_snapshots):
            yield Finding(
                ("training", "test_snapshots"),
                "is required, except with a label of kind column, where it is not allowed",
            )
        if training and project.has_time == bool(training.test_share):
            yield Finding(
                ("training", "test_share"),
                "is required with a label of kind column, and not allowed with other labels",
            )

    def _checks(self, name: str) -> Iterator[Finding]:
        where = ("checks", name)
        yield from self._source(name, where)
        if name in self.project.sources:
            columns = [item.arguments.get("column") for item in self.project.checks[name].expectations]
            known = {"dt", *self.project.sources[name].columns}
            named = [column for column in columns if isinstance(column, str)]
            yield from self._missing(named, known, name, (*where, "expectations"))
        for key in self.project.checks[name].foreign_keys:
            inner = (*where, "foreign_keys")
            yield from self._source(key.source, inner, kinds=REFERENCES)
            for column, source in ((key.column, name), (key.references, key.source)):
                if source in self.project.sources:
                    yield from self._missing([column], self.project.sources[source].columns, source, inner)

    def _column_names(self, name: str) -> Iterator[Finding]:
        source = self.project.sources[name]
        seen: dict[str, str] = {}
        delivered: dict[str, str] = {}
        for column in source.columns:
            where = ("sources", name, "columns", column)
            if is_reserved_column(column):
                remedy = f"Give the column another name, and add to it: delivered_as: {source.delivered_name(column)}"
                yield Finding(where, _IS_RESERVED, remedy)
            twin = seen.setdefault(column.casefold(), column)
            if twin != column:
                remedy = f"Give the column another name, and add to it: delivered_as: {source.delivered_name(column)}"
                yield Finding(where, f"differs from column {twin!r} only in case", remedy)
            other = delivered.setdefault(source.delivered_name(column), column)
            if other != column:
                what = f"has the name {source.delivered_name(column)!r} in the delivery, like column {other!r}"
                yield Finding(where, what, "Give each column its own delivered_as.")

    def _joined_types(self) -> Iterator[Finding]:
        """Require the same type for ids that are joined, since 7 and 007 are equal only as integers."""
        sources = self.project.sources
        customers = [(name, source.customer) for name, source in sources.items() if source.customer]
        for name, column in customers[1:]:
            yield from self._one_type(("sources", name, "customer"), (name, column), customers[0])
        for name, source in sources.items():
            for look in source.lookups:
                yield from self._one_type(("sources", name, "lookups"), (name, look.by), (look.source, look.by))
        for name, checks in self.project.checks.items():
            for key in checks.foreign_keys:
                where = ("checks", name, "foreign_keys")
                yield from self._one_type(where, (name, key.column), (key.source, key.references))

    def _one_type(self, where: tuple[str, ...], one: tuple[str, str], other: tuple[str, str]) -> Iterator[Finding]:
        sides = [
            (f"{name}.{column}", source.columns[column].type)
            for name, column in (one, other)
            if (source := self.project.sources.get(name)) and column in source.columns
        ]
        if len({kind for _, kind in sides}) > 1:
            found = " and ".join(f"{side} of type {kind}" for side, kind in sides)
            yield Finding(where, f"joins {found}", "Declare the same type for both columns, for ids preferably string.")

    def _lookups(self, name: str) -> Iterator[Finding]:
        where = ("sources", name, "lookups")
        known = {column.casefold() for column in self.project.sources[name].columns}
        for look in self.project.sources[name].lookups:
            for column in look.columns:
                if column.casefold() in known:
                    yield Finding(where, f"adds column {column!r}, which the source already has")
                known.add(column.casefold())
            yield from self._source(look.source, where, kinds=("snapshot",))
            if look.source in self.project.sources:
                other = self.project.sources[look.source]
                yield from self._missing([look.by, *look.columns], other.columns, look.source, where)
                if other.key != [look.by]:
                    yield Finding(
                        where, f"looks up by {look.by!r}, but the key of source {look.source!r} is {other.key}"
                    )

    def _derived_columns(self, name: str) -> Iterator[Finding]:
        where = ("derived_columns", name)
        yield from self._source(name, where)
        if name not in self.project.sources:
            return
        known = self.project.sources[name].column_names()
        for column in self.project.derived_columns[name]:
            if is_reserved_column(column.name):
                yield Finding((*where, column.name), _IS_RESERVED, "Choose another name for the column.")
            if column.name.casefold() in {other.casefold() for other in known}:
                yield Finding((*where, column.name), "is already a column of the source")
            yield from self._missing(columns_in(column.sql), known, name, (*where, column.name))
            known = known | {column.name}

    def _features(self) -> Iterator[Finding]:
        seen: dict[str, FeatureSpec] = {}
        for spec in self.project.features:
            where = ("feature_families", spec.name)
            if spec.name in seen:
                yield Finding(where, "is used twice as a name")
            if self.project.label and spec.name == self.project.label.name.casefold():
                yield Finding(where, "is the label's name", "Choose another name for the feature or for the label.")
            elif spec.name in RESERVED_FEATURES:
                yield Finding(where, _IS_RESERVED, "Choose another name for the feature.")
            calculation = spec.calculation
            if isinstance(calculation, Ratio | Trend):
                yield from self._parts(where, calculation, seen)
            else:
                kinds = REFERENCES if isinstance(calculation, Attribute | DaysSince) else EVENTS
                inner = (*where, "calculation", "source")
                yield from self._source(calculation.source, inner, kinds=kinds, customer=True)
                yield from self._columns(_used_columns(calculation), calculation.source, where)
                yield from self._types(where, spec, calculation)
                texts = [calculation.value] if isinstance(calculation, Share) else spec.categories
                if isinstance(calculation, Share | Attribute):
                    yield from self._texts(where, calculation.source, calculation.column, texts)
            if isinstance(calculation, Aggregate) and spec.dtype == "category":
                yield Finding(where, "is an aggregation, so it is a number and cannot have categories")
            seen[spec.name] = spec

    def _segments(self) -> Iterator[Finding]:
        where, names = ("training", "segments"), self.project.training.segments
        known = {spec.name for spec in self.project.features}
        for name in sorted(set(names)):
            if names.count(name) > 1:
                yield Finding(where, f"names feature {name!r} twice")
            if name not in known and not self.features_are_invalid:
                yield Finding(where, f"names the unknown feature {name!r}")

    def _parts(
        self, where: tuple[str, ...], calculation: Ratio | Trend, seen: dict[str, FeatureSpec]
    ) -> Iterator[Finding]:
        ratio = isinstance(calculation, Ratio)
        parts = (calculation.numerator, calculation.denominator) if ratio else (calculation.near, calculation.far)  # type: ignore[union-attr]
        for part in parts:
            if part not in seen:
                if not self.features_are_invalid:
                    yield Finding(where, f"uses feature {part!r}, which is not defined before it")
            elif not ratio and seen[part].window is None:
                yield Finding(where, f"uses the rate per day of feature {part!r}, which has no window")

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
                yield Finding(where, f"{use}: use the function days_since")
            elif kind == "string" and not spec.categories:
                yield Finding(where, f"{use}: list its texts under validation.categories")
            label = self.project.label
            if isinstance(label, ColumnLabel) and (label.source, label.column) == (calculation.source, measured):
                yield Finding(where, "uses the label's own column, which reveals the label to the model")
        elif isinstance(calculation, DaysSince):
            if kind not in _DATES:
                yield Finding(where, f"{use}, not a date")
        elif calculation.function != "count_distinct" and kind not in _NUMBERS:
            yield Finding(where, f"{use}, not a number")
        elif calculation.function in _ADDED and kind == "number":
            yield Finding(
                where,
                f"{use}: such sums depend on the order of rows; declare the column (or a derived column) as decimal",
            )

    def _texts(
        self, where: tuple[str, ...], source: str, column: str | None, texts: Iterable[str]
    ) -> Iterator[Finding]:
        """Require texts that the values of a column can have in silver."""
        kind = self.project.column_types(source).get(column or "")
        if kind is None:
            return
        pattern, remedy = _TEXTS.get(kind, (None, "Declare the column as string."))
        origin = self._origin(source, column)
        no_value = ("", *self.project.sources[origin].null_tokens) if origin else ()
        for text in texts:
            if text in no_value:
                what = f"names {text!r}, which is a text that means 'no value' in source {origin!r}"
                remove = f"Remove {text!r} from null_tokens of the source, or name another value."
                yield Finding(where, what, remove if text else "Name another value.")
            elif pattern is None or not re.fullmatch(pattern, text):
                what = f"names the text {text!r}, but column {column!r} of source {source!r} is of type {kind}"
                yield Finding(where, what, remedy)

    def _origin(self, source: str, column: str | None) -> str | None:
        """Return the source that declares a column of ``source``; None for a derived column."""
        looked_up = {name: look.source for look in self.project.sources[source].lookups for name in look.columns}
        return source if column in self.project.sources[source].columns else looked_up.get(column or "")

    def _columns(self, wanted: Iterable[str], source: str, where: tuple[str, ...]) -> Iterator[Finding]:
        if source in self.project.sources:
            yield from self._missing(wanted, self.project.columns_of(source), source, where)

    def _missing(
        self, wanted: Iterable[str], present: Iterable[str], source: str, where: tuple[str, ...]
    ) -> Iterator[Finding]:
        for column in sorted(set(wanted) - set(present)):
            yield Finding(where, f"names column {column!r}, which source {source!r} does not have")

    def _source(
        self, name: str, where: tuple[str, ...], *, kinds: tuple[str, ...] = (), customer: bool = False
    ) -> Iterator[Finding]:
        sources = self.project.sources
        if name in self.invalid_sources or not sources:
            return  # a project without a valid source has a problem of its own
        if name not in sources:
            yield Finding(where, f"names the unknown source {name!r}; sources.yaml has {sorted(sources)}")
            return
        if kinds and sources[name].kind not in kinds:
            yield Finding(where, f"names source {name!r}, which must be of kind {' or '.join(kinds)}")
        if customer and sources[name].customer is None:
            yield Finding(where, f"names source {name!r}, which has no customer column")


def _used_columns(calculation: Aggregate | Share | Attribute | DaysSince) -> set[str]:
    if isinstance(calculation, Share):
        return {calculation.column, *filter(None, [calculation.of])}
    if isinstance(calculation, Aggregate):
        condition = columns_in(calculation.where) if calculation.where else set()
        return {*filter(None, [calculation.column]), *condition}
    return {calculation.column}
