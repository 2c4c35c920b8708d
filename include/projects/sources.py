"""The configuration of sources: what arrives, where, in which columns and with which checks."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from include.projects.base import Config

ColumnType = Literal["string", "integer", "number", "decimal", "timestamp", "date", "boolean"]


class Column(Config):
    """One column of a source.

    Attributes:
        type: Its type in silver; ``decimal`` keeps money exact, so that sums do not depend on their order.
        required: Whether an empty value refuses the row.
        description: What it means.
    """

    type: ColumnType
    required: bool = False
    description: str = ""


class Lookup(Config):
    """Columns that an event takes from a reference source, by a shared key.

    Attributes:
        source: The reference source, of kind ``snapshot``.
        by: The column that both sides have.
        columns: The columns taken.
    """

    source: str
    by: str
    columns: list[str] = Field(min_length=1)


class Expectation(Config):
    """One Great Expectations expectation, by its name there, with its arguments.

    Attributes:
        type: For instance ``expect_column_values_to_be_between``.
        severity: ``refuse`` sends the failing rows to quarantine; ``stop`` stops the run when it fails.
        arguments: The expectation's keyword arguments.
    """

    type: str = Field(pattern=r"^expect_[a-z_]+$")
    severity: Literal["refuse", "stop"] = "refuse"
    arguments: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _rows_need_a_column(self) -> Expectation:
        if self.severity == "refuse" and "column" not in self.arguments:
            raise ValueError("an expectation that refuses rows needs arguments.column; use severity: stop for a table")
        return self


class Checks(Config):
    """The suite of one table.

    Attributes:
        minimum_pass_share: The gate: the share of rows that must pass, in 0..1.
        expectations: The suite.
    """

    minimum_pass_share: float = Field(default=0.99, ge=0, le=1)
    expectations: list[Expectation] = Field(default_factory=list)


class Source(Config):
    """One table of the outside world.

    Attributes:
        description: What one row is.
        owner: Who answers for it.
        kind: ``events`` arrives as one file for each day; ``snapshot`` is a whole table, delivered now and then.
        format: The files' format.
        path: The file of a day below the landing folder, with ``{day}`` in it.
        key: The columns that identify a row within one delivery.
        customer: The column that names the customer, if it has one.
        event_time: The column that says when an event happened (events only).
        allow_no_rows: Whether a day's file may have columns but no row.
        columns: Its columns by name. Undeclared ones are kept in bronze and reported.
        lookups: Columns taken from reference sources.
    """

    description: str
    owner: str
    kind: Literal["events", "snapshot"]
    format: Literal["csv", "parquet"]
    path: str
    key: list[str] = Field(min_length=1)
    customer: str | None = None
    event_time: str | None = None
    allow_no_rows: bool = False
    columns: dict[str, Column] = Field(min_length=1)
    lookups: list[Lookup] = Field(default_factory=list)

    @model_validator(mode="after")
    def _names_fit(self) -> Source:
        if "{day}" not in self.path:
            raise ValueError("path must contain {day}")
        if (self.kind == "events") != (self.event_time is not None):
            raise ValueError("event_time is needed by a source of kind events, and only by it")
        named = [*self.key, *filter(None, [self.customer, self.event_time]), *(look.by for look in self.lookups)]
        for name in named:
            if name not in self.columns:
                raise ValueError(f"column {name!r} is used but not declared under columns")
        if self.event_time and self.columns[self.event_time].type not in ("timestamp", "date"):
            raise ValueError(f"event_time column {self.event_time!r} must be of type timestamp or date")
        return self

    def column_names(self) -> set[str]:
        """Return every column that a feature may use: its own, and those that it looks up."""
        return set(self.columns) | {name for look in self.lookups for name in look.columns}
