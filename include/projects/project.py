"""A whole project: one business, described by the YAML files of one folder under ``include/projects/``."""

from __future__ import annotations

import datetime as dt
from functools import cached_property
from typing import Any, Literal

from pydantic import Field, model_validator

from include.days import DayRange
from include.projects.base import Config
from include.projects.features import Aggregate, Attribute, FeatureFamily, FeatureSpec, Ratio, Share
from include.projects.model import Label, Monitoring, Requirements, Training
from include.projects.sources import Checks, Source

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class Population(Config):
    """Who gets a gold row on a day: customers with an event of ``source`` in the last ``active_within_days``."""

    source: str
    active_within_days: int = Field(ge=1)


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
        population: Who gets a gold row.
        snapshots: Which days make the training set.
        sources: What arrives.
        checks: Suites for silver tables, by source.
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
    population: Population
    snapshots: Snapshots
    sources: dict[str, Source] = Field(min_length=1)
    checks: dict[str, Checks] = Field(default_factory=dict)
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

    def is_snapshot_day(self, day: dt.date) -> bool:
        """Return whether ``day`` belongs to the training set's cadence."""
        first = self.first_day + dt.timedelta(days=self.snapshots.warm_up_days)
        return day >= first and day.weekday() == _WEEKDAYS.index(self.snapshots.weekday)

    def is_training_due(self, days: DayRange) -> bool:
        """Return whether a training falls into ``days``: every ``training.every_days`` after the first snapshot."""
        first = self.first_day + dt.timedelta(days=self.snapshots.warm_up_days)
        return any(day >= first and (day - first).days % self.training.every_days == 0 for day in days)

    @model_validator(mode="after")
    def _references_exist(self) -> Project:
        self._check_source(self.population.source, "population.source", kind="events", customer=True)
        self._check_source(self.label.source, "label.source", kind="events", customer=True)
        for name in self.checks:
            self._check_source(name, f"checks.{name}")
        for name, source in self.sources.items():
            for look in source.lookups:
                self._check_source(look.source, f"sources.{name}.lookups", kind="snapshot")
                missing = {look.by, *look.columns} - set(self.sources[look.source].columns)
                if missing:
                    raise ValueError(f"sources.{name}.lookups: {look.source!r} has no column {sorted(missing)[0]!r}")
        self._check_features()
        return self

    def _check_features(self) -> None:
        seen: set[str] = set()
        for spec in self.features:
            where = f"features.{spec.name}"
            calculation: Any = spec.calculation
            if spec.name in seen:
                raise ValueError(f"{where}: the name is used twice")
            if isinstance(calculation, Ratio):
                for part in (calculation.numerator, calculation.denominator):
                    if part not in seen:
                        raise ValueError(f"{where}: no feature {part!r} is defined before it")
            else:
                kind = "snapshot" if isinstance(calculation, Attribute) else "events"
                self._check_source(calculation.source, f"{where}.calculation.source", kind=kind, customer=True)
                used = (
                    [calculation.column] if not isinstance(calculation, Share) else [calculation.of, calculation.column]
                )
                for column in filter(None, used):
                    if column not in self.sources[calculation.source].column_names():
                        raise ValueError(f"{where}: source {calculation.source!r} has no column {column!r}")
            if isinstance(calculation, Aggregate) and spec.dtype == "category":
                raise ValueError(f"{where}: an aggregation is a number and takes no categories")
            seen.add(spec.name)

    def _check_source(self, name: str, where: str, *, kind: str | None = None, customer: bool = False) -> None:
        if name not in self.sources:
            raise ValueError(f"{where}: unknown source {name!r}; sources.yaml has {sorted(self.sources)}")
        if kind and self.sources[name].kind != kind:
            raise ValueError(f"{where}: source {name!r} must be of kind {kind}")
        if customer and self.sources[name].customer is None:
            raise ValueError(f"{where}: source {name!r} names no customer column")
