"""The results of an audit, and their storage as JSON, which the next audit compares with."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from include.logs import get_logger
from include.settings import require_project

log = get_logger(__name__)

AUDIT_FILE = "audit.json"


@dataclass(frozen=True)
class ColumnAudit:
    """The profile of one column, found or declared.

    Attributes:
        name: Its name in the delivery.
        found: Its type in the file or table, ``text`` for formats without types; empty if the column was not found.
        declared: Its type in sources.yaml; None if it is not declared.
        required: Whether it is declared as required.
        values: Number of non-null values in the sample.
        completeness: Non-null values per sampled row, 0..1.
        uniqueness: Distinct values per non-null value, 0..1.
        readable: Share of the values that can be converted to the declared type, 0..1.
        family: The declared type that corresponds to the found type; empty in audits that did not record it.
        null_tokens: Number of sampled values that are null tokens, by token.
        without_zone: Number of values that are timestamps without an offset; None for other types.
    """

    name: str
    found: str
    declared: str | None = None
    required: bool = False
    values: int = 0
    completeness: float | None = None
    uniqueness: float | None = None
    readable: float | None = None
    family: str = ""
    null_tokens: dict[str, int] = field(default_factory=dict)
    without_zone: int | None = None


@dataclass(frozen=True)
class Schema:
    """The columns of one delivery.

    Attributes:
        format: Its format.
        columns: The found columns in their order, then the declared columns that are missing.
        rows: Number of sampled rows.
    """

    format: str
    columns: list[ColumnAudit]
    rows: int

    def column(self, name: str) -> ColumnAudit | None:
        """Return the column ``name``; None if it is neither found nor declared."""
        return next((column for column in self.columns if column.name == name), None)


@dataclass(frozen=True)
class Change:
    """A difference between the schema of a delivery and the schema before it.

    Attributes:
        column: The column.
        what: The difference, as the predicate of a sentence.
        breaking: Whether old and new data cannot be read in the same way.
        confirmed: Whether a person has accepted a breaking change as the new schema.
        day: The day of the delivery; None in audits that did not record it.
        compared_with: The day of the delivery before it, or of the previous audit.
    """

    column: str
    what: str
    breaking: bool = False
    confirmed: bool = False
    day: dt.date | None = None
    compared_with: dt.date | None = None


@dataclass(frozen=True)
class KnownCustomers:
    """The number of a source's customers that the population's source contains.

    Attributes:
        ids: Number of distinct ids in the sample.
        known: Number of these that the population's source contains, in silver or in the audited deliveries.
        unknown: At most three of the others, masked.
    """

    ids: int
    known: int
    unknown: list[str]

    @property
    def share(self) -> float:
        """Share of the ids that are known, 0..1."""
        return self.known / self.ids


@dataclass(frozen=True)
class Sample:
    """The rows from which the figures about columns are computed.

    Attributes:
        first: The oldest delivery in the sample.
        last: The newest delivery in the sample.
        rows: Number of rows.
        is_everything: Whether the sample contains all rows of the audited days.
    """

    first: dt.date | None
    last: dt.date | None
    rows: int
    is_everything: bool


@dataclass(frozen=True)
class Volume:
    """The volume of the audited days, and its growth.

    Attributes:
        deliveries: Number of deliveries.
        rows: Number of rows; None if they can neither be counted nor estimated.
        rows_are_estimated: Whether the rows of some large files are estimated from their size.
        bytes: Size in bytes; None for a database.
        rows_per_day: Growth in rows per day.
        bytes_per_day: Growth in bytes per day.
        growth_days: Number of days (deliveries for a snapshot) from which the growth is computed.
    """

    deliveries: int
    rows: int | None
    rows_are_estimated: bool
    bytes: int | None
    rows_per_day: float | None = None
    bytes_per_day: float | None = None
    growth_days: int = 0


@dataclass(frozen=True)
class DeliveryFrequency:
    """How often deliveries arrive.

    Attributes:
        deliveries: Number of known deliveries up to the last day.
        latest: The day of the latest delivery.
        median_gap_days: Median number of days between two deliveries.
        longest_gap_days: Longest number of days between two deliveries.
    """

    deliveries: int
    latest: dt.date | None
    median_gap_days: float | None = None
    longest_gap_days: int | None = None


@dataclass(frozen=True)
class Speed:
    """Latency and throughput, measured during the audit.

    Attributes:
        look_up_seconds: Time to list and open all files, or to connect and look up the table.
        first_byte_seconds: Time to open the newest file, or to connect, until the first byte or row arrives.
        rows_per_second: Rows per second while the sample is read.
        bytes_per_second: Bytes of bronze text per second while the sample is read.
    """

    look_up_seconds: float
    first_byte_seconds: float | None
    rows_per_second: float | None
    bytes_per_second: float | None


@dataclass(frozen=True)
class SourceAudit:
    """The audit of one source.

    Attributes:
        name: Its name.
        description: Its description in sources.yaml.
        kind: ``events``, ``changes`` or ``snapshot``.
        owner: The owner in sources.yaml.
        connector: The kind of storage or database.
        format: ``csv``, ``jsonl``, ``parquet`` or ``table``.
        location: Its address, without credentials.
        authentication: The kind of authentication, without any credential.
        columns: The found columns in their order, then the declared columns that are missing.
        layouts: Number of different column orders among the deliveries.
        key: The columns of its key.
        duplicate_keys: Number of sampled rows that repeat a key of the same delivery; None if it is unknown.
        newest: The newest event, change or delivery up to the end of the last day.
        age_days: The age of the newest event, change or delivery at the end of the last day, in days.
        sample: The sample from which the figures are computed.
        volume: Its volume.
        rhythm: Its delivery frequency.
        speed: Its latency and throughput.
        contract: The file that declares its columns and keys.
        checks: Number of further checks in checks.yaml.
        changes: Differences of each delivery from the delivery before it, or from the previous audit.
        rows_outside_time: Number of rows of a database table that are never loaded, since their watermark is null,
            infinite or outside the years 1970 to 9998.
        customers: The share of customers that the population's source contains; None for this source itself, and for
            sources without customers.
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
    rhythm: DeliveryFrequency
    speed: Speed
    contract: str
    checks: int
    changes: list[Change] = field(default_factory=list)
    rows_outside_time: int = 0
    customers: KnownCustomers | None = None

    @property
    def undeclared(self) -> list[str]:
        """The found columns that are not declared, sorted."""
        return sorted(column.name for column in self.columns if column.declared is None)

    @property
    def refused(self) -> list[Change]:
        """The breaking changes that are not confirmed."""
        return [change for change in self.changes if change.breaking and not change.confirmed]

    @property
    def schema(self) -> Schema:
        """Its columns, as the next audit compares them."""
        return Schema(self.format, self.columns, self.sample.rows)

    def column(self, name: str) -> ColumnAudit | None:
        """Return the column ``name``; None if it is neither found nor declared."""
        return self.schema.column(name)


@dataclass(frozen=True)
class Audit:
    """The audit of all sources of a project for a range of days.

    Attributes:
        project: The name of the project.
        first: The first day.
        last: The last day, under which the audit is stored.
        compared_with: The last day of the previous audit.
        accepted: Whether it has no unconfirmed breaking change; later audits compare only with accepted audits.
        sources: The sources by name.
    """

    project: str
    first: dt.date
    last: dt.date
    compared_with: dt.date | None
    accepted: bool
    sources: dict[str, SourceAudit]


_AUDIT = TypeAdapter(Audit)


def to_json(audit: Audit) -> str:
    """Return the audit as JSON."""
    return _AUDIT.dump_json(audit, indent=1).decode()


def load_audit(folder: Path, project: str, day: dt.date) -> Audit | None:
    """Load the audit stored under a day; None if there is none or it cannot be read.

    Args:
        folder: The folder of audits.
        project: The name of the project.
        day: The last day of the audit.

    Raises:
        ProjectMismatchError: The audit is of another project.
    """
    path = folder / str(day) / AUDIT_FILE
    if not path.exists():
        return None
    try:
        audit = _AUDIT.validate_json(path.read_text(encoding="utf-8"))
    except ValidationError:
        log.warning("an earlier audit cannot be read", extra={"path": str(path)})
        return None
    require_project(audit.project, project, what="The audit", where=path)
    return audit


def load_previous_audit(folder: Path, project: str, day: dt.date) -> Audit | None:
    """Load the latest accepted audit of an earlier day, so that repeating an audit gives the same comparison.

    Args:
        folder: The folder of audits.
        project: The name of the project.
        day: The last day of the audit to compare.
    """
    days = sorted((path.parent.name for path in folder.glob(f"????-??-??/{AUDIT_FILE}")), reverse=True)
    for earlier in (dt.date.fromisoformat(name) for name in days if name < str(day)):
        audit = load_audit(folder, project, earlier)
        if audit is not None and audit.accepted:
            return audit
    return None


def load_audits(folder: Path, project: str, after: dt.date) -> list[Audit]:
    """Load the stored audits whose last day is after a day, in the order of their days.

    Args:
        folder: The folder of audits.
        project: The name of the project.
        after: The day.

    Raises:
        ProjectMismatchError: An audit is of another project.
    """
    names = sorted(path.parent.name for path in folder.glob(f"????-??-??/{AUDIT_FILE}"))
    days = [dt.date.fromisoformat(name) for name in names if name > str(after)]
    return [audit for day in days if (audit := load_audit(folder, project, day)) is not None]
