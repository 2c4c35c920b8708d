"""The columns from which each column of a table is computed, from the definitions of the project.

The steps from the deliveries to the retention list compute their columns from ``sources.yaml``, ``features.yaml`` and
``label.yaml``, so the lineage follows from these files and has no description of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from include.features.point_in_time import CUSTOMER_ID
from include.lake.table_names import (
    FEATURES_QUARANTINE_TABLE,
    FEATURES_TABLE,
    LABELS_TABLE,
    SCORES_TABLE,
    bronze_table,
    silver_table,
)
from include.lineage import MODEL, ONLINE_STORE, TRAINING_DATASET, Dataset
from include.projects import FeatureSpec, Project
from include.projects.expressions import columns_in
from include.projects.features import Aggregate, DaysSince, Ratio, Share, Trend
from include.projects.label import ColumnLabel, NoEventLabel
from include.sources.bronze_tables import FILE, ROW, UNDECLARED
from include.sources.landing_lineage import landing_dataset

Effect: TypeAlias = Literal[
    "IDENTITY", "TRANSFORMATION", "AGGREGATION", "CONDITIONAL", "FILTER", "GROUP_BY", "JOIN", "SORT"
]
"""The effect of a column, by the names of OpenLineage. The first three are direct: the value of the column is used."""

_OF_TIME = {"active_days", "days_since_last", "days_since_first", "mean_gap_days", "max_gap_days"}
_DAY = "dt"


@dataclass(frozen=True, order=True)
class Origin:
    """A column that affects another one.

    Attributes:
        dataset: The name of its dataset; see ``include.lineage.Dataset``.
        column: The name of the column.
        effect: How it affects the other column.
    """

    dataset: str
    column: str
    effect: Effect


@dataclass(frozen=True)
class ColumnLineage:
    """The origins of a table.

    Attributes:
        columns: The origins of the values of each column.
        rows: The columns that decide which rows the table has.
    """

    columns: Mapping[str, frozenset[Origin]]
    rows: frozenset[Origin] = frozenset()

    def within(self, written: Collection[str], read: Mapping[str, Dataset]) -> ColumnLineage:
        """Return the lineage of the written columns, with the origins in the datasets that were read.

        Args:
            written: The columns.
            read: The datasets by name.
        """

        def known(origins: Iterable[Origin]) -> frozenset[Origin]:
            return frozenset(one for one in origins if one.dataset in read and one.column in read[one.dataset].columns)

        return ColumnLineage(
            {name: found for name, origins in self.columns.items() if name in written and (found := known(origins))},
            known(self.rows),
        )


def column_lineage(project: Project, written: Dataset, read: Mapping[str, Dataset]) -> ColumnLineage:
    """Return the lineage of the columns of a dataset; it is empty for bookkeeping tables and for monitoring.

    Args:
        project: The project.
        written: The dataset that a task has written.
        read: The datasets that the task has read, by name. The features of a list are the columns of the model.
    """
    layer, _, name = written.name.partition("/")
    found = ColumnLineage({})
    if name in project.sources:
        found = _source_tables(project, layer, name)
    elif written.name in (FEATURES_TABLE, FEATURES_QUARANTINE_TABLE):
        found = _features(project)
    elif written.name == LABELS_TABLE:
        found = _labels(project)
    elif written.name == SCORES_TABLE and MODEL in read:
        found = _scores(project, read[MODEL].columns)
    elif written.name in (TRAINING_DATASET, ONLINE_STORE):
        found = _copies(project)
    return found.within(written.columns, read)


def _same(dataset: str, columns: Iterable[str]) -> dict[str, frozenset[Origin]]:
    return {column: _all(dataset, [column], "IDENTITY") for column in columns}


def _all(dataset: str, columns: Iterable[str | None], effect: Effect) -> frozenset[Origin]:
    return frozenset(Origin(dataset, column, effect) for column in columns if column)


def _as_filter(origins: Iterable[Origin]) -> frozenset[Origin]:
    return frozenset(replace(origin, effect="FILTER") for origin in origins)


def _source_tables(project: Project, layer: str, name: str) -> ColumnLineage:
    source, bronze = project.sources[name], bronze_table(name)
    if layer == "bronze":
        landing, watermark = landing_dataset(source), source.database.watermark if source.database else None
        columns = {own: _all(landing, [source.delivered_name(own)], "IDENTITY") for own in source.columns}
        customer = source.delivered_name(source.customer) if source.customer else None
        return ColumnLineage(columns, _all(landing, [watermark, customer], "FILTER"))
    checked = _all(bronze, [*source.columns, UNDECLARED, _DAY], "FILTER")
    if layer == "silver":
        typed = {column: _all(bronze, [column], "TRANSFORMATION") for column in source.columns}
        return ColumnLineage(typed | _same(bronze, [_DAY]), checked)
    rules = {"rules": _all(bronze, [*source.columns, UNDECLARED, _DAY], "TRANSFORMATION")}
    return ColumnLineage(_same(bronze, [*source.columns, UNDECLARED, FILE, ROW, _DAY]) | rules, checked)


def _features(project: Project) -> ColumnLineage:
    population = project.population
    source = project.sources[population.source]
    columns = {CUSTOMER_ID: _all(silver_table(population.source), [source.customer], "IDENTITY")}
    for spec in project.features:
        calculation = spec.calculation
        if isinstance(calculation, Ratio):
            columns[spec.name] = columns[calculation.numerator] | columns[calculation.denominator]
        elif isinstance(calculation, Trend):
            columns[spec.name] = columns[calculation.near] | columns[calculation.far]
        else:
            columns[spec.name] = _feature(project, spec)
    rows = _column(project, population.source, population.column, "FILTER") if population.column else frozenset()
    return ColumnLineage(columns, rows | _valid_rows(project, population.source))


def _feature(project: Project, spec: FeatureSpec) -> frozenset[Origin]:
    calculation = spec.calculation
    assert not isinstance(calculation, Ratio | Trend)  # noqa: S101
    name = calculation.source
    found = _valid_rows(project, name)
    if isinstance(calculation, Share):
        found |= _column(project, name, calculation.column, "CONDITIONAL")
        return found | (_column(project, name, calculation.of, "AGGREGATION") if calculation.of else frozenset())
    if not isinstance(calculation, Aggregate):
        effect: Effect = "TRANSFORMATION" if isinstance(calculation, DaysSince) else "IDENTITY"
        return found | _column(project, name, calculation.column, effect)
    time = project.sources[name].event_time if calculation.function in _OF_TIME else None
    for column in filter(None, [calculation.column, time]):
        found |= _column(project, name, column, "AGGREGATION")
    for column in columns_in(calculation.where) if calculation.where else ():
        found |= _column(project, name, column, "CONDITIONAL")
    return found


def _valid_rows(project: Project, name: str) -> frozenset[Origin]:
    """Return the columns that select the rows of a source which a customer has on a day."""
    source, silver = project.sources[name], silver_table(name)
    found = _all(silver, [source.customer], "GROUP_BY") | _all(silver, [source.event_time, _DAY], "FILTER")
    # Of reference sources, the latest row of a key counts.
    return found if source.kind == "events" else found | _all(silver, [*source.key, source.event_time], "SORT")


def _column(project: Project, name: str, column: str, effect: Effect) -> frozenset[Origin]:
    """Return the columns of silver behind a column that a feature uses: its own, looked up, or derived."""
    source, silver = project.sources[name], silver_table(name)
    if column in source.columns:
        return _all(silver, [column], effect)
    for lookup in source.lookups:
        if column in lookup.columns:
            other = silver_table(lookup.source)
            joined = _all(silver, [lookup.by, _DAY], "JOIN") | _all(other, [lookup.by, _DAY], "JOIN")
            return joined | _all(other, [column], effect)
    derived = next(item for item in project.derived_columns[name] if item.name == column)
    of_parts: Effect = "TRANSFORMATION" if effect == "IDENTITY" else effect
    return frozenset().union(*(_column(project, name, part, of_parts) for part in columns_in(derived.sql)))


def _labels(project: Project) -> ColumnLineage:
    label = project.label
    found = _valid_rows(project, label.source)
    if not isinstance(label, NoEventLabel):
        found |= _column(project, label.source, label.column, "TRANSFORMATION")
    columns = _same(FEATURES_TABLE, [_DAY, CUSTOMER_ID]) | {label.name: found}
    return ColumnLineage(columns, _as_filter(found) if isinstance(label, ColumnLabel) else frozenset())


def _scores(project: Project, features: Iterable[str]) -> ColumnLineage:
    score = _all(FEATURES_TABLE, features, "TRANSFORMATION")
    columns = dict.fromkeys(["churn_probability", "prediction", "rank", "raises_risk", "lowers_risk"], score)
    columns["rank"] |= _all(FEATURES_TABLE, [CUSTOMER_ID], "SORT")
    rows = _all(FEATURES_TABLE, [_DAY], "FILTER")
    if not isinstance(project.label, NoEventLabel):  # customers who are known to have churned are left out
        rows |= _as_filter(_labels(project).columns[project.label.name])
    return ColumnLineage(columns | _same(FEATURES_TABLE, [CUSTOMER_ID]), rows)


def _copies(project: Project) -> ColumnLineage:
    """Return the lineage of the training data set and of the online store, which copy gold."""
    features = [_DAY, CUSTOMER_ID, *(spec.name for spec in project.features)]
    joined = _all(LABELS_TABLE, [_DAY, CUSTOMER_ID], "JOIN")
    return ColumnLineage(_same(FEATURES_TABLE, features) | _same(LABELS_TABLE, [project.label.name]), joined)
