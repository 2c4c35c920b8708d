"""``features.yaml``: calculation, window and validation of each feature."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from include.projects.expressions import check_expression
from include.projects.sources import ColumnType
from include.projects.yaml_files import Config

_NEVER_NULL = {"count", "count_distinct", "sum", "active_days"}
_IN_DAYS = ("active_days", "days_since_last", "days_since_first", "mean_gap_days", "max_gap_days", "days_since")
_OF_COLUMN = ("count_distinct", "sum", "mean", "min", "max", "std")


class DerivedColumn(Config):
    """A column computed from other columns of the same row, before any aggregation.

    Attributes:
        name: The column's name.
        description: The meaning of the column.
        type: The column's type.
        sql: A SQL expression over the source's columns and earlier derived columns: arithmetic, comparisons,
            ``CASE``, ``COALESCE`` and other functions of one row.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    description: str
    type: ColumnType
    sql: str

    @field_validator("sql")
    @classmethod
    def _check_sql(cls, sql: str) -> str:
        check_expression(sql)
        return sql


class Aggregate(Config):
    """A number computed from a customer's events within a window.

    Attributes:
        function: ``count`` of events, ``active_days`` (days with an event), ``count_distinct``/``sum``/``mean``/
            ``min``/``max``/``std`` of a column, ``days_since_last``/``days_since_first`` event, ``mean_gap_days`` and
            ``max_gap_days`` between consecutive active days.
        source: The source of events.
        column: The column, for functions of a column.
        where: A SQL condition over the source's columns that selects events.
    """

    function: Literal[
        "count",
        "active_days",
        "count_distinct",
        "sum",
        "mean",
        "min",
        "max",
        "std",
        "days_since_last",
        "days_since_first",
        "mean_gap_days",
        "max_gap_days",
    ]
    source: str
    column: str | None = None
    where: str | None = None

    @field_validator("where")
    @classmethod
    def _check_where(cls, where: str | None) -> str | None:
        if where is not None:
            check_expression(where)
        return where

    @model_validator(mode="after")
    def _check_column(self) -> Aggregate:
        takes_column = self.function in _OF_COLUMN
        if takes_column != (self.column is not None):
            raise ValueError(f"function {self.function!r} takes {'a' if takes_column else 'no'} column")
        return self


class Share(Config):
    """The share of events with ``value`` in ``column``, by the sum of ``of`` or by count.

    The share is null if the total is zero.
    """

    function: Literal["share"]
    source: str
    of: str | None = None
    column: str
    value: str


class Ratio(Config):
    """One feature divided by another; null if the denominator is zero or null."""

    function: Literal["ratio"]
    numerator: str
    denominator: str


class Trend(Config):
    """The ratio of two features per day of their windows: ``(near / near window) / (far / far window)``.

    A ratio below 1 means a falling trend. The ratio is null if ``far`` is zero or null.
    """

    function: Literal["trend"]
    near: str
    far: str


class Attribute(Config):
    """A column of the customer's row in a reference source, as of the day."""

    function: Literal["attribute"]
    source: str
    column: str


class DaysSince(Config):
    """The days from a date in the customer's row of a reference source to the day, such as the tenure since sign-up."""

    function: Literal["days_since"]
    source: str
    column: str


Derivation = Ratio | Trend | Attribute | DaysSince
Calculation = Annotated[Aggregate | Share | Derivation, Field(discriminator="function")]


class Validation(Config):
    """The allowed values of a feature, which are checked in gold.

    Attributes:
        min: The lowest allowed value.
        max: The highest allowed value.
        categories: The allowed texts; a feature with categories is categorical.
    """

    min: float | None = None
    max: float | None = None
    categories: list[str] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _check_satisfiable(self) -> Validation:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min ({self.min:g}) is above max ({self.max:g})")
        if self.categories and len(set(self.categories)) < len(self.categories):
            raise ValueError("categories must differ from each other")
        return self


class FeatureSpec(Config):
    """One feature with one window.

    Attributes:
        name: The column in gold.
        description: The meaning of the feature.
        type: ``aggregation`` of events, or ``derived`` from other features or attributes.
        calculation: The calculation.
        window: The window in days, for calculations with a window.
        validation: The allowed values.
        drifts_by_construction: Whether the feature changes with time or the calendar, so drift checks exclude it.
        topic: The topic; see ``FeatureFamily``.
        unit: The unit of a number; see ``FeatureFamily``.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    description: str
    type: Literal["aggregation", "derived"]
    calculation: Calculation
    window: int | None = None
    validation: Validation = Validation()
    drifts_by_construction: bool = False
    topic: str = ""
    unit: str = ""

    @property
    def dtype(self) -> Literal["number", "category"]:
        """The kind of the column in gold."""
        return "category" if self.validation.categories else "number"

    @property
    def categories(self) -> list[str]:
        """The allowed texts; empty for a number."""
        return list(self.validation.categories or [])

    @property
    def nullable(self) -> bool:
        """Whether the value can be null, such as a mean of no events."""
        return self.calculation.function not in _NEVER_NULL

    @property
    def minimum(self) -> float | None:
        """The lowest allowed value."""
        return self.validation.min

    @property
    def maximum(self) -> float | None:
        """The highest allowed value."""
        return self.validation.max


class FeatureFamily(Config):
    """One entry of ``features.yaml``: one feature per window, with ``{window}`` in its texts.

    Attributes:
        name: The name of the features.
        description: The meaning of the features.
        topic: The topic. Features of one topic are strongly related, so the reasons for a churn risk contain only the
            strongest feature of each topic. By default an entry is a topic of its own.
        type: ``aggregation`` or ``derived``.
        calculation: The calculation.
        windows: The windows in days, for calculations with a window.
        validation: The allowed values.
        drifts_by_construction: Whether the features change with time or the calendar.
        unit: The unit of the numbers, which reasons show: ``$``, ``€``, ``£``, ``%`` for a share from 0 to 1, or a
            plural noun such as ``minutes``. By default, a number of days has the unit ``days``, a share has ``%``, and
            other numbers have none.
    """

    name: str = Field(pattern=r"^[a-z]([a-z0-9_]|\{window\})*$")
    description: str
    topic: str = ""
    type: Literal["aggregation", "derived"]
    calculation: Calculation
    windows: list[int] | None = Field(default=None, min_length=1)
    validation: Validation = Validation()
    drifts_by_construction: bool = False
    unit: str | None = Field(default=None, max_length=20)

    @model_validator(mode="after")
    def _check_unit(self) -> FeatureFamily:
        if self.unit and self.validation.categories:
            raise ValueError("a feature with categories has no unit")
        return self

    @model_validator(mode="after")
    def _check_windows(self) -> FeatureFamily:
        if (self.windows is not None) != ("{window}" in self.name) and len(self.windows or []) != 1:
            raise ValueError("{window} in the name is required with several windows, and not allowed without windows")
        if isinstance(self.calculation, Aggregate | Share) and self.windows is None:
            raise ValueError("an aggregation requires windows (a list of days)")
        if any(window < 1 for window in self.windows or []):
            raise ValueError("a window is at least one day")
        return self

    def expand(self) -> list[FeatureSpec]:
        """Return one feature per window."""
        if self.windows is None:
            return [self._for_window(None)]
        return [self._for_window(window) for window in self.windows]

    def _for_window(self, window: int | None) -> FeatureSpec:
        def fill(text: str) -> str:
            return text.replace("{window}", str(window))

        calculation = self.calculation
        if isinstance(calculation, Ratio):
            calculation = Ratio(
                function="ratio", numerator=fill(calculation.numerator), denominator=fill(calculation.denominator)
            )
        elif isinstance(calculation, Trend):
            calculation = Trend(function="trend", near=fill(calculation.near), far=fill(calculation.far))
        return FeatureSpec(
            name=fill(self.name),
            description=fill(self.description),
            type=self.type,
            calculation=calculation,
            window=window,
            validation=self.validation,
            drifts_by_construction=self.drifts_by_construction,
            topic=self.topic or self.name,
            unit=self._default_unit() if self.unit is None else self.unit,
        )

    def _default_unit(self) -> str:
        if self.calculation.function in _IN_DAYS:
            return "days"
        return "%" if self.calculation.function == "share" else ""
