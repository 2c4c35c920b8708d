"""The configuration of features: what each one is, how it is calculated, over which window, and what it may be."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from include.projects.base import Config
from include.projects.expressions import check_expression
from include.projects.sources import ColumnType

_NEVER_NULL = {"count", "count_distinct", "sum", "active_days"}
_OF_COLUMN = ("count_distinct", "sum", "mean", "min", "max", "std")


class DerivedColumn(Config):
    """A column that a source's rows get from their other columns, before anything is aggregated.

    Attributes:
        name: The new column.
        description: What it means.
        type: Its type.
        sql: A SQL expression over the source's columns and the derived columns before it: arithmetic, comparisons,
            ``CASE``, ``COALESCE`` and other functions of one row.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    description: str
    type: ColumnType
    sql: str

    @field_validator("sql")
    @classmethod
    def _is_an_expression(cls, sql: str) -> str:
        check_expression(sql)
        return sql


class Aggregate(Config):
    """A number made of a customer's events within a window.

    Attributes:
        function: ``count`` events, ``active_days`` (days with an event), ``count_distinct``/``sum``/``mean``/``min``/
            ``max``/``std`` of a column, ``days_since_last``/``days_since_first`` event, ``mean_gap_days`` between
            active days, ``max_gap_days`` between neighbouring active days.
        source: The event source.
        column: The column, where the function takes one.
        where: A SQL condition over the source's columns; only events that satisfy it count.
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
    def _is_a_condition(cls, where: str | None) -> str | None:
        if where is not None:
            check_expression(where)
        return where

    @model_validator(mode="after")
    def _column_fits(self) -> Aggregate:
        takes_column = self.function in _OF_COLUMN
        if takes_column != (self.column is not None):
            raise ValueError(f"function {self.function!r} takes {'a' if takes_column else 'no'} column")
        return self


class Share(Config):
    """The share of a sum that falls on events where ``column`` equals ``value``; null when the sum is zero.

    Without ``of`` it is the share of the events themselves.
    """

    function: Literal["share"]
    source: str
    of: str | None = None
    column: str
    value: str


class Ratio(Config):
    """One feature divided by another; null when the denominator is zero or null."""

    function: Literal["ratio"]
    numerator: str
    denominator: str


class Trend(Config):
    """One feature per day of its window over another per day of its own; null when the far one is zero or null.

    1 means unchanged, below 1 falling: ``(near / near window) / (far / far window)``.
    """

    function: Literal["trend"]
    near: str
    far: str


class Attribute(Config):
    """A column of the customer's row in a reference source, as last delivered by the day."""

    function: Literal["attribute"]
    source: str
    column: str


class DaysSince(Config):
    """Days between a date of the customer's row in a reference source and the day, such as the tenure since sign-up."""

    function: Literal["days_since"]
    source: str
    column: str


Derivation = Ratio | Trend | Attribute | DaysSince
Calculation = Annotated[Aggregate | Share | Derivation, Field(discriminator="function")]


class Validation(Config):
    """What a feature's values must satisfy; it becomes an expectation on gold.

    Attributes:
        min: Smallest value allowed.
        max: Largest value allowed.
        categories: The values allowed; makes the feature a category.
    """

    min: float | None = None
    max: float | None = None
    categories: list[str] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _can_be_satisfied(self) -> Validation:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min ({self.min:g}) is above max ({self.max:g})")
        if self.categories and len(set(self.categories)) < len(self.categories):
            raise ValueError("categories must differ from each other")
        return self


class FeatureSpec(Config):
    """One feature, after its windows were expanded.

    Attributes:
        name: The gold column.
        description: What it means, for people.
        type: ``aggregation`` over events, or ``derived`` from other features or attributes.
        calculation: How it is calculated.
        window: The window in days, where the calculation has one.
        validation: What its values must satisfy.
        drifts_by_construction: Whether it moves with time or a calendar by itself, so that drift checks leave it out.
        topic: What it is about; see ``FeatureFamily``.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    description: str
    type: Literal["aggregation", "derived"]
    calculation: Calculation
    window: int | None = None
    validation: Validation = Validation()
    drifts_by_construction: bool = False
    topic: str = ""

    @property
    def dtype(self) -> Literal["number", "category"]:
        """Whether the gold column holds numbers or texts."""
        return "category" if self.validation.categories else "number"

    @property
    def categories(self) -> list[str]:
        """The texts allowed; empty for a number."""
        return list(self.validation.categories or [])

    @property
    def nullable(self) -> bool:
        """Whether a customer can lack the value, such as a mean over no events."""
        return self.calculation.function not in _NEVER_NULL

    @property
    def minimum(self) -> float | None:
        """Smallest value allowed."""
        return self.validation.min

    @property
    def maximum(self) -> float | None:
        """Largest value allowed."""
        return self.validation.max


class FeatureFamily(Config):
    """One entry of ``features.yaml``: a feature, or one for each window, with ``{window}`` in its texts.

    Attributes:
        topic: What the feature is about. Features of one topic say much the same of a customer, so that the reasons for
            a risk name the strongest of them and not the others; an entry without a topic is one of its own.
    """

    name: str
    description: str
    topic: str = ""
    type: Literal["aggregation", "derived"]
    calculation: Calculation
    windows: list[int] | None = Field(default=None, min_length=1)
    validation: Validation = Validation()
    drifts_by_construction: bool = False

    @model_validator(mode="after")
    def _windows_fit(self) -> FeatureFamily:
        if (self.windows is not None) != ("{window}" in self.name) and len(self.windows or []) != 1:
            raise ValueError("a feature with several windows needs {window} in its name, and one without has none")
        if isinstance(self.calculation, Aggregate | Share) and self.windows is None:
            raise ValueError("an aggregation needs windows (a list of days)")
        if any(window < 1 for window in self.windows or []):
            raise ValueError("a window is at least one day")
        return self

    def expand(self) -> list[FeatureSpec]:
        """Return one specification for each window."""
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
        )
