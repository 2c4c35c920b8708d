"""A whole project: one business, described by the YAML files of one folder under ``include/projects/``."""

from __future__ import annotations

import datetime as dt
from functools import cached_property
from typing import Literal

from pydantic import Field, model_validator

from include.days import DayRange
from include.projects.base import Config
from include.projects.features import DerivedColumn, FeatureFamily, FeatureSpec
from include.projects.label import ColumnLabel, Label
from include.projects.monitoring import Monitoring
from include.projects.references import reference_problems
from include.projects.requirements import Requirements
from include.projects.sources import Checks, ColumnType, Source
from include.projects.training import Training

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class Population(Config):
    """Who gets a gold row on a day.

    With a source of events: customers with an event in the last ``active_within_days``. With a reference source: the
    customers whose row in force has one of ``values`` in ``column``, or all of them.

    Attributes:
        source: The source.
        active_within_days: For a source of events.
        column: For a reference source: the column looked at.
        values: The values that make a customer active.
    """

    source: str
    active_within_days: int | None = Field(default=None, ge=1)
    column: str | None = None
    values: list[str] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _column_has_values(self) -> Population:
        if (self.column is None) != (self.values is None):
            raise ValueError("column and values belong together")
        return self


class Snapshots(Config):
    """Which days make the training set.

    Attributes:
        weekday: Snapshots are taken on this day of each week.
        warm_up_days: History needed before the first snapshot, so that its windows are filled.
    """

    weekday: Weekday
    warm_up_days: int = Field(ge=0)


class Project(Config):
    """One business.

    Attributes:
        name: The folder's name.
        title: What people call it.
        description: One paragraph about the business and its data.
        owner: The team that answers for it.
        first_day: The first day with data.
        lateness_days: How long after a day its data may still be delivered anew: the snapshots of so many days after it
            are computed again; later ones stay as they were.
        population: Who gets a gold row.
        snapshots: Which days make the training set.
        sources: What arrives.
        checks: Suites for silver tables, by source.
        derived_columns: Columns that sources get from their others, by source.
        feature_families: The feature specifications as written.
        gold_checks: The gate of the gold table.
        label: What churn means.
        requirements: What a model must satisfy.
        training: How it is trained.
        monitoring: How it is watched.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str
    description: str
    owner: str
    first_day: dt.date
    lateness_days: int = Field(default=28, ge=0)
    population: Population
    snapshots: Snapshots | None = None
    sources: dict[str, Source] = Field(min_length=1)
    checks: dict[str, Checks] = Field(default_factory=dict)
    derived_columns: dict[str, list[DerivedColumn]] = Field(default_factory=dict)
    feature_families: list[FeatureFamily] = Field(min_length=1)
    gold_checks: Checks = Checks()
    label: Label
    requirements: Requirements
    training: Training
    monitoring: Monitoring

    @cached_property
    def features(self) -> list[FeatureSpec]:
        """Every feature, in the order of ``features.yaml``, windows expanded."""
        return [spec for family in self.feature_families for spec in family.expand()]

    @property
    def has_time(self) -> bool:
        """Whether rows have a before and an after; without, there is one delivery and no split by time."""
        return not isinstance(self.label, ColumnLabel)

    @property
    def first_snapshot(self) -> dt.date:
        """The first day that may be a snapshot: by then the windows are filled."""
        return self.first_day + dt.timedelta(days=self.snapshots.warm_up_days if self.snapshots else 0)

    def columns_of(self, source: str) -> set[str]:
        """Return every column that a feature of ``source`` may use: its own, looked up, and derived."""
        derived = {column.name for column in self.derived_columns.get(source, [])}
        return self.sources[source].column_names() | derived

    def column_types(self, source: str) -> dict[str, ColumnType]:
        """Return the types of those columns; those of a source that does not exist are left out."""
        if source not in self.sources:
            return {}
        looked_up = {
            column: self.sources[look.source].columns[column].type
            for look in self.sources[source].lookups
            if look.source in self.sources
            for column in look.columns
            if column in self.sources[look.source].columns
        }
        own = {name: column.type for name, column in self.sources[source].columns.items()}
        return own | looked_up | {column.name: column.type for column in self.derived_columns.get(source, [])}

    def is_snapshot_day(self, day: dt.date) -> bool:
        """Return whether ``day`` belongs to the training set's cadence; without one, every day does."""
        in_cadence = self.snapshots is None or day.weekday() == _WEEKDAYS.index(self.snapshots.weekday)
        return day >= self.first_snapshot and in_cadence

    def is_training_due(self, days: DayRange) -> bool:
        """Return whether a training falls into ``days``: every ``training.every_days`` after the first snapshot."""
        first = self.first_snapshot
        return any(day >= first and (day - first).days % self.training.every_days == 0 for day in days)

    @model_validator(mode="after")
    def _references_exist(self) -> Project:
        found = [f"{'.'.join(where)} {what}" for where, what in reference_problems(self)]
        if found:
            raise ValueError("; ".join(found))
        return self
