"""What an audit says. It is stored as JSON, so that the next audit can compare."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ColumnAudit:
    """One column, found or declared.

    Attributes:
        name: Its name.
        found: Its type in the file or table, ``text`` where the format has none; empty when it was not found.
        declared: Its type in sources.yaml, if it is declared.
        required: Whether it is declared as required.
        values: Values in the sample.
        completeness: Values per sampled row, in 0..1.
        uniqueness: Different values per value, in 0..1.
        readable: The share of the values that read as the declared type, in 0..1.
    """

    name: str
    found: str
    declared: str | None = None
    required: bool = False
    values: int = 0
    completeness: float | None = None
    uniqueness: float | None = None
    readable: float | None = None


@dataclass(frozen=True)
class Change:
    """A difference to the schema of the audit before.

    Attributes:
        column: The column.
        what: The difference, in words.
        breaking: Whether data of before and after cannot be read alike.
        confirmed: Whether a person took a breaking change for the new schema.
    """

    column: str
    what: str
    breaking: bool = False
    confirmed: bool = False


@dataclass(frozen=True)
class Sample:
    """Which rows the figures about columns come from.

    Attributes:
        first: The oldest delivery in it.
        last: The newest.
        rows: Rows in it.
        is_everything: Whether these are all rows of the days audited.
    """

    first: dt.date | None
    last: dt.date | None
    rows: int
    is_everything: bool


@dataclass(frozen=True)
class Volume:
    """How much there is, and how much more each day.

    Attributes:
        deliveries: Deliveries for the days audited.
        rows: Their rows; none when they can neither be counted nor estimated.
        rows_are_estimated: Whether some files were too large to count; their bytes by those of a line tell.
        bytes: Their bytes; none for a database.
        rows_per_day: Growth.
        bytes_per_day: Growth.
        growth_days: The days, or for a snapshot the deliveries, that the growth was seen over.
    """

    deliveries: int
    rows: int | None
    rows_are_estimated: bool
    bytes: int | None
    rows_per_day: float | None = None
    bytes_per_day: float | None = None
    growth_days: int = 0


@dataclass(frozen=True)
class Rhythm:
    """When deliveries came.

    Attributes:
        deliveries: How many are known up to the last day.
        latest: The day of the latest one.
        median_gap_days: Half of the gaps between two are shorter.
        longest_gap_days: The longest gap.
    """

    deliveries: int
    latest: dt.date | None
    median_gap_days: float | None = None
    longest_gap_days: int | None = None


@dataclass(frozen=True)
class Speed:
    """What was measured while the audit ran.

    Attributes:
        look_up_seconds: Listing and opening all files, or connecting and looking up the table.
        first_byte_seconds: Opening the newest file, or connecting, until the first byte or row arrived.
        rows_per_second: Reading the sample.
        bytes_per_second: Reading the sample; bytes of the text that bronze gets.
    """

    look_up_seconds: float
    first_byte_seconds: float | None
    rows_per_second: float | None
    bytes_per_second: float | None


@dataclass(frozen=True)
class SourceAudit:
    """One source.

    Attributes:
        name: Its name.
        description: What one row is.
        kind: ``events``, ``changes`` or ``snapshot``.
        owner: Who answers for it.
        connector: How it is read.
        format: ``csv``, ``jsonl``, ``parquet`` or ``table``.
        location: Its address, without credentials.
        authentication: How this process proves who it is, without the proof.
        columns: Its columns: those found in their order, then declared ones that are missing.
        layouts: How many different orders of columns the deliveries have.
        key: The columns of its key.
        duplicate_keys: Sampled rows whose key another row of the same delivery has; none when it cannot be told.
        newest: Its newest event, change or delivery up to the close of the last day.
        age_days: How old that is at the close of the last day.
        sample: Which rows the figures come from.
        volume: How much there is.
        rhythm: When it came.
        speed: How fast it can be read.
        contract: The file that declares its columns and keys.
        checks: How many checks its rows must pass beyond that.
        changes: Differences to the audit before.
    """

    name: str
    description: str
    kind: str
    owner: str
    connector: str
    format: str
    location: str
    authentication: str
    columns: list[ColumnAudit]
    layouts: int
    key: list[str]
    duplicate_keys: int | None
    newest: dt.datetime | None
    age_days: float | None
    sample: Sample
    volume: Volume
    rhythm: Rhythm
    speed: Speed
    contract: str
    checks: int
    changes: list[Change] = field(default_factory=list)

    @property
    def undeclared(self) -> list[str]:
        """Columns that were found and are not declared."""
        return sorted(column.name for column in self.columns if column.declared is None)

    @property
    def refused(self) -> list[Change]:
        """Breaking changes that nobody has confirmed."""
        return [change for change in self.changes if change.breaking and not change.confirmed]

    def column(self, name: str) -> ColumnAudit | None:
        """Return the column ``name``, when it was found or is declared."""
        return next((column for column in self.columns if column.name == name), None)


@dataclass(frozen=True)
class Audit:
    """All sources of a project, as they were for some days.

    Attributes:
        project: The project's name.
        first: The first day.
        last: The last day, which the audit is stored under.
        compared_with: The last day of the audit that it was compared with.
        accepted: Whether no breaking change was found, or every one was confirmed; only such an audit is compared with.
        sources: The sources by name.
    """

    project: str
    first: dt.date
    last: dt.date
    compared_with: dt.date | None
    accepted: bool
    sources: dict[str, SourceAudit]
