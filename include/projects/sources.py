"""The configuration of sources: what arrives, from where, in which columns, and the contract that it must keep."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from include.projects.base import Config

ColumnType = Literal["string", "integer", "number", "decimal", "timestamp", "date", "boolean"]
Severity = Literal["refuse", "stop", "warn"]


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


class Files(Config):
    """Files in a folder or below an object-store prefix.

    Attributes:
        format: ``csv`` with a header, ``jsonl`` (one JSON object a line) or ``parquet``.
        path: The file of a day, with ``{day}`` in it: below the landing address, or an address of its own
            (``s3://bucket/exports/{day}.csv``).
    """

    format: Literal["csv", "jsonl", "parquet"]
    path: str

    @model_validator(mode="after")
    def _names_a_day(self) -> Files:
        if "{day}" not in self.path:
            raise ValueError("path must contain {day}")
        return self


class Database(Config):
    """One table of a SQL database, read a day at a time.

    Attributes:
        connection: The name of the connection; its address and password come from an Airflow connection or the
            environment, never from YAML.
        table: The table, with its schema: ``shop.payments``.
        watermark: The column that says when a row was written or changed. A day's rows are those whose watermark lies
            within that day (UTC).
    """

    connection: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    table: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?$")
    watermark: str


class Expectation(Config):
    """One Great Expectations expectation, by its name there, with its arguments.

    Attributes:
        type: For instance ``expect_column_values_to_be_between``.
        severity: ``refuse`` sends the failing rows to quarantine; ``stop`` stops the run when it fails; ``warn`` only
            reports it.
        arguments: The expectation's keyword arguments.
    """

    type: str = Field(pattern=r"^expect_[a-z_]+$")
    severity: Severity = "refuse"
    arguments: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _rows_need_a_column(self) -> Expectation:
        if self.severity == "refuse" and "column" not in self.arguments:
            raise ValueError("an expectation that refuses rows needs arguments.column; use severity: stop for a table")
        return self


class RowCount(Config):
    """How a day's row count may compare with the median of the days before it.

    Attributes:
        history_days: How many of the days before it are compared with; at least ``minimum_days`` of them must exist.
        minimum_days: Below so many earlier days, nothing is judged.
        min_ratio: Smallest count allowed, over the median.
        max_ratio: Largest count allowed, over the median.
        severity: What a violation does.
    """

    history_days: int = Field(default=28, ge=1)
    minimum_days: int = Field(default=7, ge=1)
    min_ratio: float = Field(ge=0)
    max_ratio: float = Field(gt=0)
    severity: Literal["stop", "warn"] = "stop"


class Freshness(Config):
    """How old the newest row may be when a day closes (events and changes), or the newest delivery (snapshots).

    Attributes:
        max_age_days: Days without anything new that are still normal.
        severity: What a violation does.
    """

    max_age_days: int = Field(ge=0)
    severity: Literal["stop", "warn"] = "stop"


class ForeignKey(Config):
    """A column whose values must exist in another source, as delivered by the same day.

    Attributes:
        column: The column here.
        source: The other source, of kind ``snapshot`` or ``changes``.
        references: Its column there.
        min_share: The share of rows that must find theirs.
        severity: What a smaller share does.
    """

    column: str
    source: str
    references: str
    min_share: float = Field(default=1.0, gt=0, le=1)
    severity: Literal["stop", "warn"] = "stop"


class Checks(Config):
    """The contract of one table beyond its columns, types and keys.

    Attributes:
        minimum_pass_share: The gate: the share of rows that must pass, in 0..1.
        expectations: Great Expectations on rows and on the table.
        row_count: The day's rows against history.
        freshness: How old the newest data may be.
        foreign_keys: Columns whose values must exist in another source.
    """

    minimum_pass_share: float = Field(default=0.99, ge=0, le=1)
    expectations: list[Expectation] = Field(default_factory=list)
    row_count: RowCount | None = None
    freshness: Freshness | None = None
    foreign_keys: list[ForeignKey] = Field(default_factory=list)


class Source(Config):
    """One table of the outside world.

    Attributes:
        description: What one row is.
        owner: Who answers for it.
        kind: ``events`` happen, and arrive as one delivery for each day; ``changes`` are the rows of a table that were
            new or changed on a day, of which the latest by key is in force; ``snapshot`` is a whole table, delivered
            now and then.
        files: Where its files are; or
        database: which table of a database it is.
        key: The columns that identify a row: within one delivery, and for ``changes`` over time.
        deduplicate_days: A row whose key was delivered already within so many days before is a duplicate (events).
        customer: The column that names the customer, if it has one.
        event_time: The column that says when an event happened or a row changed (events and changes).
        allow_no_rows: Whether a day's delivery may have columns but no row.
        columns: Its columns by name. Undeclared ones are kept in bronze and reported.
        lookups: Columns taken from reference sources.
    """

    description: str
    owner: str
    kind: Literal["events", "changes", "snapshot"]
    files: Files | None = None
    database: Database | None = None
    key: list[str] = Field(min_length=1)
    deduplicate_days: int = Field(default=0, ge=0)
    customer: str | None = None
    event_time: str | None = None
    allow_no_rows: bool = False
    columns: dict[str, Column] = Field(min_length=1)
    lookups: list[Lookup] = Field(default_factory=list)

    @property
    def is_daily(self) -> bool:
        """Whether every day has a delivery, so that a missing one is an error."""
        return self.kind != "snapshot"

    @model_validator(mode="after")
    def _names_fit(self) -> Source:
        if (self.files is None) == (self.database is None):
            raise ValueError("give either files or database")
        if self.database and self.kind == "snapshot":
            raise ValueError("a database table is read by day: use kind events or changes")
        if self.is_daily != (self.event_time is not None):
            raise ValueError("event_time is needed by a source of kind events or changes, and only by them")
        if self.deduplicate_days and self.kind != "events":
            raise ValueError("deduplicate_days is for events")
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
