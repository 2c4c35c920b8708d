"""Check the bronze rows of one source: the built-in row rules, then its expectations, one block of days at a time.

A block contains whole days and about a million rows, so memory does not grow with the range of days.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

import ibis
import pyarrow as pa

from include.days import DayRange
from include.lake import Lake
from include.lake.day_parts import split_by_day
from include.lake.table_names import bronze_table, silver_table
from include.plurals import counted
from include.projects import Checks, Expectation, Project, Source
from include.quality.gate import RuleOutcome
from include.quality.row_rules import (
    RULE,
    builtin_rules,
    describe_rule,
    earlier_duplicates,
    same_day_duplicates,
    typed_rows,
)
from include.quality.suite import ROW_ID, ExpectationResult, Tally, columns_read, describe_days, is_row_rule, run_suite
from include.sources.bronze_tables import FILE, ROW
from include.sources.column_types import day_of

ROWS_AT_ONCE = 1_000_000
"""The largest number of rows in a block and in a data frame; a day with more rows is one block."""

ROW_KEY = ["dt", FILE, ROW]
"""The columns that identify a bronze row."""

_REFUSALS = pa.schema([("dt", pa.date32()), (FILE, pa.string()), (ROW, pa.int64()), ("rule", pa.string())])


@dataclass(frozen=True)
class CheckedSource:
    """The result of the checks of one source.

    Attributes:
        name: The source.
        days: The checked days, sorted.
        rows: The number of bronze rows.
        refusals: One row per refused row and violated rule: ``dt``, ``_file``, ``_row``, ``rule``.
        rules: The outcomes of the built-in row rules and of the expectations.
        newest: The day of the newest event, if the source has event times.
    """

    name: str
    days: tuple[dt.date, ...]
    rows: int
    refusals: pa.Table
    rules: tuple[RuleOutcome, ...]
    newest: dt.date | None

    @property
    def refused(self) -> int:
        """The number of rows that violate at least one rule."""
        return int(self.refusals.group_by(ROW_KEY).aggregate([]).num_rows)


def blocks_of(days: Sequence[dt.date], counts: Mapping[dt.date, int]) -> Iterator[tuple[dt.date, ...]]:
    """Split days into blocks of consecutive days with at most ``ROWS_AT_ONCE`` rows; a larger day is one block.

    Args:
        days: The days, sorted.
        counts: The number of rows by day.
    """
    block: list[dt.date] = []
    rows = 0
    for day in days:
        if block and rows + counts.get(day, 0) > ROWS_AT_ONCE:
            yield tuple(block)
            block, rows = [], 0
        block.append(day)
        rows += counts.get(day, 0)
    if block:
        yield tuple(block)


def check_source(
    project: Project, lake: Lake, name: str, days: Sequence[dt.date], delivered: Set[dt.date]
) -> CheckedSource:
    """Check the bronze rows of ``days`` with the built-in row rules and the expectations.

    Args:
        project: The project.
        lake: Its lake.
        name: The source.
        days: The days, sorted.
        delivered: The days that have a delivery.

    Raises:
        SuiteError: An expectation is invalid or does not fit its column.
    """
    source, checks = project.sources[name], project.checks.get(name, Checks())
    counts = lake.table(bronze_table(name)).row_counts(days)
    tallies = [Tally(expectation) for expectation in checks.expectations]
    refusals: list[pa.Table] = []
    newest: list[dt.date] = []
    for block in blocks_of(days, counts):
        if not any(counts.get(day) for day in block) and not any(map(_accepts_no_rows, checks.expectations)):
            continue
        part = _Block(project, name, lake, block)
        refusals.append(part.refusals)
        if part.newest:
            newest.append(part.newest)
        refusals += part.run_suites(tallies, [day for day in block if day in delivered])
    found = pa.concat_tables([_REFUSALS.empty_table(), *refusals])
    rows = sum(counts.values())
    builtin = _builtin_outcomes(source, rows, found, {tally.rule for tally in tallies})
    rules = (*builtin, *(tally.outcome() for tally in tallies))
    return CheckedSource(name, tuple(days), rows, found, rules, max(newest, default=None))


def newest_event(source: Source, rows: ibis.Table, zone: str) -> dt.date | None:
    """Return the day of the newest event; None without rows, or if the source has no event times.

    Args:
        source: The source's configuration.
        rows: Its typed rows.
        zone: The time zone of the project's days.
    """
    if source.event_time is None:
        return None
    found: dt.date | None = day_of(rows[source.event_time].max(), zone).to_pyarrow().as_py()
    return found


class _Block:
    """The rows of a block of days, in a separate engine."""

    def __init__(self, project: Project, name: str, lake: Lake, days: Sequence[dt.date]) -> None:
        source, zone = project.sources[name], project.timezone
        self._table = silver_table(name)
        engine = lake.connect()
        bronze = lake.table(bronze_table(name))
        typed = typed_rows(source, engine, bronze.scan(engine, days), zone).mutate(**{ROW_ID: ibis.row_number()})
        rows = engine.create_table("typed", typed, temp=True)
        valid = rows.filter(rows[RULE].isnull())
        refusals = [
            _arrow(rows.filter(rows[RULE].notnull()).select(*ROW_KEY, rule=rows[RULE])),
            _arrow(same_day_duplicates(source, valid)),
        ]
        valid = _without(valid, refusals[1])
        if source.deduplicate_days:
            keys = ["dt", *source.key]
            earlier_days = _days_before(days, source.deduplicate_days)
            others = typed_rows(source, engine, bronze.scan(engine, earlier_days), zone)
            others = engine.create_table("others", others.filter(others[RULE].isnull()).select(keys), temp=True)
            earlier = ibis.union(others, valid.select(keys))
            refusals.append(_arrow(earlier_duplicates(source, valid, earlier)))
            valid = _without(valid, refusals[2])
        self.refusals = pa.concat_tables(refusals)
        self.newest = newest_event(source, valid, zone)
        self._valid = valid

    def run_suites(self, tallies: Sequence[Tally], delivered: Sequence[dt.date]) -> list[pa.Table]:
        """Evaluate the expectations, add the results to ``tallies`` and return the refusals.

        Row rules run on all rows, other rules on each delivered day, so a day's result does not depend on the range.

        Args:
            tallies: The tallies of the expectations.
            delivered: The days that have a delivery.
        """
        if not tallies:
            return []
        frame = self._columns([tally.expectation for tally in tallies])
        by_row = [tally for tally in tallies if is_row_rule(self._table, tally.expectation)]
        by_day = [tally for tally in tallies if not is_row_rule(self._table, tally.expectation)]
        refusals = []
        for start in range(0, frame.num_rows, ROWS_AT_ONCE):
            refusals += self._run(by_row, frame.slice(start, ROWS_AT_ONCE), None)
        parts = split_by_day(frame) if by_day else {}
        for day in delivered if by_day else []:
            part = parts.get(day, frame.slice(0, 0))
            applicable = [tally for tally in by_day if part.num_rows or _accepts_no_rows(tally.expectation)]
            refusals += self._run(applicable, part, day)
        return refusals

    def _run(self, tallies: Sequence[Tally], rows: pa.Table, day: dt.date | None) -> list[pa.Table]:
        results = run_suite(self._table, rows.to_pandas(), [tally.expectation for tally in tallies])
        refusals = []
        for tally, result in zip(tallies, results, strict=True):
            failed = self._failed(result)
            tally.add(result, failed, day)
            if result.severity == "refuse":
                refusals.append(failed)
        return refusals

    def _failed(self, result: ExpectationResult) -> pa.Table:
        if not len(result.failed_ids):
            return _REFUSALS.empty_table()
        ids = ibis.memtable(pa.table({ROW_ID: result.failed_ids}))
        return _arrow(self._valid.semi_join(ids, ROW_ID).select(*ROW_KEY, rule=ibis.literal(result.rule)))

    def _columns(self, expectations: Sequence[Expectation]) -> pa.Table:
        # Decimals become floats, since Decimal objects are slow and checks need no exact values.
        rows = self._valid
        used = {name for item in expectations for name in columns_read(item)} - {"dt"}
        columns = {name: rows[name] for name in rows.columns if name in used}
        floats = {name: column.cast("float64") for name, column in columns.items() if column.type().is_decimal()}
        return rows.select(ROW_ID, "dt", **columns | floats).to_pyarrow()


def _accepts_no_rows(expectation: Expectation) -> bool:
    return expectation.type.startswith("expect_table_")


def _days_before(days: Sequence[dt.date], lookback: int) -> list[dt.date]:
    """Return the days from ``lookback`` days before ``days[0]`` to ``days[-1]`` that are not in ``days``."""
    first = days[0] - dt.timedelta(days=lookback)
    return [day for day in DayRange(first, days[-1]) if day not in days]


def _without(rows: ibis.Table, refusals: pa.Table) -> ibis.Table:
    return rows.anti_join(ibis.memtable(refusals.select(ROW_KEY)), ROW_KEY) if refusals.num_rows else rows


def _arrow(refusals: ibis.Table) -> pa.Table:
    return refusals.to_pyarrow().cast(_REFUSALS)


def _builtin_outcomes(source: Source, rows: int, refusals: pa.Table, expectations: set[str]) -> list[RuleOutcome]:
    counts = refusals.group_by(["rule", "dt"]).aggregate([([], "count_all")]).to_pylist()
    violations: dict[str, dict[dt.date, int]] = {rule: {} for rule in builtin_rules(source)}
    for item in counts:
        if item["rule"] not in expectations:
            violations.setdefault(item["rule"], {})[item["dt"]] = item["count_all"]
    return [_builtin_outcome(source, rows, rule, violations[rule]) for rule in sorted(violations)]


def _builtin_outcome(source: Source, rows: int, rule: str, days: dict[dt.date, int]) -> RuleOutcome:
    refused = sum(days.values())
    seen = f"{refused:,} of {counted(rows, 'row')}" if refused else ""
    return RuleOutcome(
        rule, "refuse", not refused, refused, seen, limits=describe_rule(source, rule), days=describe_days(days)
    )
