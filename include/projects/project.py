"""``project.yaml``, and the project as a whole: one business, described by one folder of YAML files."""

from __future__ import annotations

import datetime as dt
from functools import cached_property
from typing import Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from include.days import DayRange
from include.projects.features import DerivedColumn, FeatureFamily, FeatureSpec
from include.projects.keep_days import KeepDays
from include.projects.label import ColumnLabel, Label
from include.projects.monitoring import Monitoring
from include.projects.readiness import Readiness
from include.projects.requirements import Requirements
from include.projects.sources import Checks, ColumnType, Source, TimeZone
from include.projects.training import Training
from include.projects.yaml_files import Config

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class Population(Config):
    """The customers that get a row in gold on a day.

    With a source of events: the customers with an event in the last ``active_within_days``. With a reference source:
    the customers with one of ``values`` in ``column`` of their current row, or all customers.

    Attributes:
        source: The source.
        active_within_days: The days, for a source of events.
        column: The column, for a reference source.
        values: The values of active customers.
    """

    source: str
    active_within_days: int | None = Field(default=None, ge=1)
    column: str | None = None
    values: list[str] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _check_column(self) -> Population:
        if (self.column is None) != (self.values is None):
            raise ValueError("column and values belong together")
        return self


class Snapshots(Config):
    """The days of the training set.

    Attributes:
        weekday: The day of the week on which snapshots are taken.
        warm_up_days: The days of history before the first snapshot, which fill its windows.
    """

    weekday: Weekday
    warm_up_days: int = Field(ge=0)


class Project(Config):
    """One business.

    Attributes:
        name: The folder's name.
        title: The display name.
        description: One paragraph about the business and its data.
        owner: The team responsible for the project.
        first_day: The first day with data.
        lateness_days: The number of days after a day within which its data may be delivered late or again. A new
            delivery recomputes the snapshots of the day and of this number of days after it, but no later snapshots. A
            label counts the deliveries up to this number of days after its horizon.
        timezone: The time zone in which days begin and end.
        keep_days: The retention periods.
        population: The customers that get a row in gold.
        snapshots: The days of the training set.
        sources: The sources, by name.
        checks: The checks of silver tables, by source.
        derived_columns: The columns computed from other columns of a source, by source.
        feature_families: The entries of ``features.yaml``.
        gold_checks: The checks of the gold table.
        label: The definition of churn.
        requirements: The requirements on data, model and endpoint.
        training: Tuning, split, leakage limits and promotion.
        monitoring: The limits of drift and of the realised performance.
        readiness: The approvals, and the periods after which evidence of readiness is stale.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str
    description: str
    owner: str
    first_day: dt.date
    lateness_days: int = Field(default=28, ge=0)
    timezone: TimeZone = "UTC"
    keep_days: KeepDays = KeepDays()
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
    readiness: Readiness = Readiness()

    @model_validator(mode="before")
    @classmethod
    def _set_timezones(cls, content: Any) -> Any:
        # A source without a time zone gets the project's. An invalid time zone is reported once, for the project.
        if not isinstance(content, dict) or not isinstance(content.get("sources"), dict) or "timezone" not in content:
            return content
        try:
            TypeAdapter(TimeZone).validate_python(content["timezone"])
        except ValidationError:
            return content
        zone = {"timezone": content["timezone"]}
        sources = {name: zone | item if isinstance(item, dict) else item for name, item in content["sources"].items()}
        return content | {"sources": sources}

    @cached_property
    def features(self) -> list[FeatureSpec]:
        """All features, one per window, in the order of ``features.yaml``."""
        return [spec for family in self.feature_families for spec in family.expand()]

    @property
    def has_time(self) -> bool:
        """Whether rows are ordered in time; otherwise there is one delivery and no split by time."""
        return not isinstance(self.label, ColumnLabel)

    @property
    def first_snapshot(self) -> dt.date:
        """The first possible snapshot: the first day with filled windows."""
        return self.first_day + dt.timedelta(days=self.snapshots.warm_up_days if self.snapshots else 0)

    def columns_of(self, source: str) -> set[str]:
        """Return the columns that a feature of ``source`` may use: declared, looked-up and derived columns."""
        derived = {column.name for column in self.derived_columns.get(source, [])}
        return self.sources[source].column_names() | derived

    def column_types(self, source: str) -> dict[str, ColumnType]:
        """Return the types of ``columns_of``; columns of an unknown source are left out."""
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
        """Return whether ``day`` is a snapshot of the training set; without ``snapshots``, every day is."""
        in_cadence = self.snapshots is None or day.weekday() == _WEEKDAYS.index(self.snapshots.weekday)
        return day >= self.first_snapshot and in_cadence

    def is_training_due(self, days: DayRange) -> bool:
        """Return whether a training is due in ``days``, counted by ``every_days`` from the first snapshot."""
        first = self.first_snapshot
        return any(day >= first and (day - first).days % self.training.every_days == 0 for day in days)
