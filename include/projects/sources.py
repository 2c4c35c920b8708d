"""``sources.yaml`` and ``checks.yaml``: location, columns and contract of each source."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from include.projects.yaml_files import Config

ColumnType = Literal["string", "integer", "number", "decimal", "timestamp", "date", "boolean"]
Severity = Literal["refuse", "stop", "warn"]
ExactText = Annotated[str, StringConstraints(strip_whitespace=False)]
"""A text that keeps its surrounding blanks."""

NULL_TOKENS = ("NULL", "null", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NaT", "None", "\\N")
"""The texts that mean *no value* by default, as pandas, R, Excel and database exports write them."""


def _check_zone(name: str) -> str:
    try:
        is_zone = ZoneInfo(name).key != "localtime"  # the machine's own
    except (ZoneInfoNotFoundError, ValueError, OSError):
        is_zone = False
    if not is_zone:
        raise ValueError(f"{name!r} is not a time zone; use a name such as UTC or Europe/Berlin")
    return name


TimeZone = Annotated[str, AfterValidator(_check_zone)]
"""The name of a time zone in the IANA database."""


class Column(Config):
    """One column of a source.

    Attributes:
        type: The type in silver. ``decimal`` is exact, so a sum does not depend on the order of its rows.
        required: Whether a row with an empty value is refused.
        description: The meaning of the column.
        delivered_as: The name of the column in the delivery, if it differs from the name here.
    """

    type: ColumnType
    required: bool = False
    description: str = ""
    delivered_as: ExactText | None = None


class Lookup(Config):
    """Columns joined to events from a reference source.

    Attributes:
        source: The reference source, of kind ``snapshot``.
        by: The join column, which both sources have.
        columns: The joined columns.
    """

    source: str
    by: str
    columns: list[str] = Field(min_length=1)


class Files(Config):
    """Files in a folder or below an object-store prefix.

    Attributes:
        format: ``csv`` with a header, ``jsonl`` (one JSON object per line) or ``parquet``.
        path: The path of a day's file, which contains ``{day}``: relative to the landing address, or a complete address
            (``s3://bucket/exports/{day}.csv``).
        compression: The compression of ``csv`` and ``jsonl`` files; ``infer`` takes it from the file's extension.
        encoding: The encoding of ``csv`` and ``jsonl`` files, by its Python name, such as ``cp1252`` or ``utf-16``.
        separator: The character between two values (``csv``).
        quote: The character around a value that contains separators or line breaks (``csv``).
        decimal_separator: The character before the decimal places of a number (``csv``).
        unreadable_rows: The effect of a row with too many or too few values, or of a line that is not JSON: ``refuse``
            refuses the file, ``quarantine`` sends the row to quarantine.
        done_marker: The path, with ``{day}``, of a file whose existence means that the day's file is complete.
            By default a file is complete as soon as it exists.
        min_age_seconds: The number of seconds for which a file must not have changed before it counts as complete.
    """

    format: Literal["csv", "jsonl", "parquet"]
    path: str
    compression: Literal["infer", "none", "gzip", "bz2", "xz", "zip", "zstd"] = "infer"
    encoding: str = "utf-8"
    separator: Annotated[ExactText, Field(min_length=1, max_length=1)] = ","
    quote: Annotated[ExactText, Field(min_length=1, max_length=1)] = '"'
    decimal_separator: Literal[".", ","] = "."
    unreadable_rows: Literal["refuse", "quarantine"] = "refuse"
    done_marker: str | None = None
    min_age_seconds: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _check_paths(self) -> Files:
        for key in ("path", "done_marker"):
            if "{day}" not in (getattr(self, key) or "{day}"):
                raise ValueError(f"{key} must contain {{day}}")
        if self.done_marker == self.path:
            raise ValueError("done_marker is the file itself")
        return self

    @model_validator(mode="after")
    def _check_text(self) -> Files:
        try:
            "".encode(self.encoding)
        except (LookupError, UnicodeError) as error:
            raise ValueError(f"encoding {self.encoding!r} is unknown; use a name such as utf-8 or cp1252") from error
        if self.separator == self.quote:
            raise ValueError("separator and quote are the same character")
        if not all("\0" < mark < "\x80" and mark not in "\r\n" for mark in (self.separator, self.quote)):
            raise ValueError("separator and quote must be ASCII characters, and no line breaks")
        csv_only = {"separator", "quote", "decimal_separator"}
        text_only = csv_only | {"compression", "encoding", "unreadable_rows"}
        # A dumped configuration contains the defaults, too.
        given = {name for name, item in type(self).model_fields.items() if getattr(self, name) != item.default}
        needless = given & {"csv": set(), "jsonl": csv_only, "parquet": text_only}[self.format]
        if needless:
            raise ValueError(f"{', '.join(sorted(needless))}: not allowed with format {self.format}")
        return self


class Database(Config):
    """One table of a SQL database: read day by day by its watermark or, for kind ``snapshot``, as a whole.

    Attributes:
        connection: The name of the connection. Its address and password come from an Airflow connection or from the
            environment, never from YAML.
        table: The table with its schema, such as ``shop.payments``.
        watermark: The column of the table with the time at which a row was written or changed. The rows of a day are
            the rows with a watermark within that business day; without a time zone, the watermark is in the source's
            ``timezone``. Not allowed for kind ``snapshot``, and required otherwise.
    """

    connection: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    table: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?$")
    watermark: str | None = None


class Expectation(Config):
    """An expectation of Great Expectations.

    Attributes:
        type: Its name, such as ``expect_column_values_to_be_between``.
        severity: The effect of a violation: ``refuse`` sends the failing rows to quarantine, ``stop`` stops the run,
            and ``warn`` only reports it.
        arguments: Its keyword arguments.
    """

    type: str = Field(pattern=r"^expect_[a-z_]+$")
    severity: Severity = "refuse"
    arguments: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_severity(self) -> Expectation:
        if self.severity == "refuse" and "column" not in self.arguments:
            raise ValueError("severity refuse requires arguments.column; use severity stop for a table")
        return self


class RowCount(Config):
    """The allowed ratio of a day's row count to the median of earlier days.

    Attributes:
        history_days: The number of earlier days in the median.
        minimum_days: The number of earlier days below which the check is skipped.
        min_ratio: The minimum ratio.
        max_ratio: The largest allowed ratio.
        severity: The effect of a violation.
    """

    history_days: int = Field(default=28, ge=1)
    minimum_days: int = Field(default=7, ge=1)
    min_ratio: float = Field(ge=0)
    max_ratio: float = Field(gt=0)
    severity: Literal["stop", "warn"] = "stop"


class Freshness(Config):
    """The allowed age of the newest row (events and changes) or the newest delivery (snapshots) at the end of a day.

    Attributes:
        max_age_days: The largest allowed age in days.
        severity: The effect of a violation.
    """

    max_age_days: int = Field(ge=0)
    severity: Literal["stop", "warn"] = "stop"


class ForeignKey(Config):
    """A column with values that must exist in another source on the same day.

    Attributes:
        column: The column.
        source: The referenced source, of kind ``snapshot`` or ``changes``.
        references: The referenced column.
        min_share: The minimum share of rows with a match.
        severity: The effect of a violation.
    """

    column: str
    source: str
    references: str
    min_share: float = Field(default=1.0, gt=0, le=1)
    severity: Literal["stop", "warn"] = "stop"


class Checks(Config):
    """The contract of one table, in addition to its columns, types and keys.

    Attributes:
        minimum_pass_share: The share of rows that must pass, from 0 to 1; the gate is shut below it.
        expectations: The expectations on rows and on the table.
        row_count: The allowed row count relative to earlier days.
        freshness: The allowed age of the newest data.
        foreign_keys: The columns with values that must exist in another source.
    """

    minimum_pass_share: float = Field(default=0.99, ge=0, le=1)
    expectations: list[Expectation] = Field(default_factory=list)
    row_count: RowCount | None = None
    freshness: Freshness | None = None
    foreign_keys: list[ForeignKey] = Field(default_factory=list)


class Source(Config):
    """An external table.

    Attributes:
        description: The meaning of one row.
        owner: The team responsible for the data.
        kind: ``events``: one delivery per day with the events of that day. ``changes``: one delivery per day with the
            new and changed rows of a table; the latest row of a key is in force. ``snapshot``: a whole table, delivered
            from time to time. An ingest reads a database table as a whole, as the delivery of the last ingested day; a
            day keeps its first delivery.
        files: The files that contain the table; exclusive with ``database``.
        database: The database table; exclusive with ``files``.
        key: The columns that identify a row within one delivery, and for ``changes`` also over time.
        deduplicate_days: The number of earlier days in which a row with the same key makes a row a duplicate (events).
        customer: The column with the customer's id, if the table has such a column.
        event_time: The column with the time of the event or change (events and changes).
        allow_no_rows: Whether the delivery of a day may have no rows.
        columns: The columns by name. Undeclared columns are kept in bronze and reported.
        lookups: The columns joined from reference sources.
        timezone: The time zone of timestamps without an offset; by default the project's time zone.
        null_tokens: The texts that mean *no value*, in addition to the empty text.
        date_order: The order of day and month in dates such as 01/03/2026; dates such as 2026-03-01 are always read.
        years: The first and the last year of valid dates and timestamps.
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
    timezone: TimeZone = "UTC"
    null_tokens: tuple[ExactText, ...] = NULL_TOKENS
    date_order: Literal["ymd", "dmy", "mdy"] = "ymd"
    years: tuple[int, int] = (1900, 2100)

    def delivered_name(self, column: str) -> str:
        """Return the name of a declared column in the deliveries."""
        return self.columns[column].delivered_as or column

    @property
    def decimal_separator(self) -> str:
        """The character before the decimal places of a number."""
        return self.files.decimal_separator if self.files else "."

    @property
    def is_daily(self) -> bool:
        """Whether every day has a delivery, so that a missing delivery is an error."""
        return self.kind != "snapshot"

    @model_validator(mode="after")
    def _check_source(self) -> Source:
        if (self.files is None) == (self.database is None):
            raise ValueError("give either files or database")
        if self.database and self.is_daily != (self.database.watermark is not None):
            raise ValueError("database.watermark is required for kind events or changes, and not allowed for snapshot")
        if self.is_daily != (self.event_time is not None):
            raise ValueError("event_time is required for kind events or changes, and not allowed for snapshot")
        if self.deduplicate_days and self.kind != "events":
            raise ValueError("deduplicate_days requires kind events")
        named = [*self.key, *filter(None, [self.customer, self.event_time]), *(look.by for look in self.lookups)]
        if not 1 <= self.years[0] <= self.years[1] <= 9999:
            raise ValueError("years must be two years from 1 to 9999, the first before the last")
        for name in named:
            if name not in self.columns:
                raise ValueError(f"column {name!r} is used but not declared under columns")
        if self.event_time and self.columns[self.event_time].type not in ("timestamp", "date"):
            raise ValueError(f"event_time column {self.event_time!r} must be of type timestamp or date")
        return self

    def column_names(self) -> set[str]:
        """Return the declared and the looked-up columns."""
        return set(self.columns) | {name for look in self.lookups for name in look.columns}
