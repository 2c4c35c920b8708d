"""Check the bronze rows of one source: the rules of form, then its expectations, a block of days at a time.

A block holds whole days and about a million rows, so that memory does not grow with the range.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

import ibis
import pyarrow as pa
import pyarrow.compute as pc

from include.days import DayRange
from include.lake import Lake, connect
from include.lake.table_names import bronze_table, silver_table
from include.projects import Checks, Expectation, Source
from include.quality.gate import RuleOutcome
from include.quality.suite import ROW_ID, Finding, columns_read, is_row_rule, run_suite
from include.quality.tally import Tally, in_words
from include.quality.typed import RULE, earlier_duplicates, form_rules, in_plain, same_day_duplicates, typed_rows
from include.sources.bronze_tables import FILE, ROW

ROWS_AT_ONCE = 1_000_000
"""Rows that a block and a frame hold at most; a single day's rows are one block however many they are."""

PLACE = ["dt", FILE, ROW]
"""What identifies a row of bronze."""

_REFUSALS = pa.schema([("dt", pa.date32()), (FILE, pa.string()), (ROW, pa.int64()), ("rule", pa.string())])


@dataclass(frozen=True)
class Checked:
    """What the checks of one source found.

    Attributes:
        name: The source.
        days: The days checked, sorted.
        rows: Rows that arrived.
        refusals: One row for each rule that a row broke: ``dt``, ``_file``, ``_row``, ``rule``.
        rules: The outcome of the rules of form and the expectations.
        newest: The latest day on which something happened, if the source has event times.
    """

    name: str
    days: tuple[dt.date, ...]
    rows: int
    refusals: pa.Table
    rules: tuple[RuleOutcome, ...]
    newest: dt.date | None

    @property
    def refused(self) -> int:
        """Rows that broke at least one rule."""
        return int(self.refusals.group_by(PLACE).aggregate([]).num_rows)


def blocks_of(days: Sequence[dt.date], counts: Mapping[dt.date, int]) -> Iterator[tuple[dt.date, ...]]:
    """Cut ``days`` into runs of whole days that hold ``ROWS_AT_ONCE`` rows at most, where a day allows it.

    Args:
        days: The days, sorted.
        counts: Rows by day.
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
    name: str, source: Source, checks: Checks, lake: Lake, days: Sequence[dt.date], delivered: Set[dt.date]
) -> Checked:
    """Check the bronze rows of ``days`` by the rules of form and the expectations.

    Args:
        name: The source.
        source: Its configuration.
        checks: Its expectations.
        lake: The lake.
        days: The days, sorted.
        delivered: Those of them that have a delivery.

    Raises:
        SuiteError: An expectation is wrong or does not fit its column.
    """
    counts = lake.table(bronze_table(name)).row_counts(days)
    tallies = [Tally(expectation) for expectation in checks.expectations]
    refusals: list[pa.Table] = []
    newest: list[dt.date] = []
    for block in blocks_of(days, counts):
        if not any(counts.get(day) for day in block) and not any(map(_judges_no_rows, checks.expectations)):
            continue
        part = _Block(name, source, lake, block)
        refusals.append(part.form)
        if part.newest:
            newest.append(part.newest)
        refusals += part.run_suites(tallies, [day for day in block if day in delivered])
    found = pa.concat_tables([_REFUSALS.empty_table(), *refusals])
    rows = sum(counts.values())
    form = _form_outcomes(source, rows, found, {tally.rule for tally in tallies})
    rules = (*form, *(tally.outcome() for tally in tallies))
    return Checked(name, tuple(days), rows, found, rules, max(newest, default=None))


class _Block:
    """The rows of some days on an engine of their own."""

    def __init__(self, name: str, source: Source, lake: Lake, days: Sequence[dt.date]) -> None:
        self._table = silver_table(name)
        engine = connect()
        bronze = lake.table(bronze_table(name))
        typed = typed_rows(source, bronze.scan(engine, days)).mutate(**{ROW_ID: ibis.row_number()})
        rows = engine.create_table("typed", typed)
        sound = rows.filter(rows[RULE].isnull())
        refusals = [
            _arrow(rows.filter(rows[RULE].notnull()).select(*PLACE, rule=rows[RULE])),
            _arrow(same_day_duplicates(source, sound)),
        ]
        sound = _without(sound, refusals[1])
        if source.deduplicate_days:
            keys = ["dt", *source.key]
            others = typed_rows(source, bronze.scan(engine, _days_before(days, source.deduplicate_days)))
            others = engine.create_table("others", others.filter(others[RULE].isnull()).select(keys))
            earlier = ibis.union(others, sound.select(keys))
            refusals.append(_arrow(earlier_duplicates(source, sound, earlier)))
            sound = _without(sound, refusals[2])
        self.form = pa.concat_tables(refusals)
        self.newest = _newest(source, sound)
        self._sound = sound

    def run_suites(self, tallies: Sequence[Tally], delivered: Sequence[dt.date]) -> list[pa.Table]:
        """Add what the expectations find to ``tallies`` and return the refusals among it.

        Row rules see all rows, other rules each delivered day by itself, so that a day is judged alike in any range.
        """
        if not tallies:
            return []
        frame = self._columns([tally.expectation for tally in tallies])
        by_row = [tally for tally in tallies if is_row_rule(self._table, tally.expectation)]
        by_day = [tally for tally in tallies if not is_row_rule(self._table, tally.expectation)]
        refusals = []
        for start in range(0, frame.num_rows, ROWS_AT_ONCE):
            refusals += self._run(by_row, frame.slice(start, ROWS_AT_ONCE), None)
        for day in delivered if by_day else []:
            part = frame.filter(pc.equal(frame["dt"], pa.scalar(day, pa.date32())))
            judged = [tally for tally in by_day if part.num_rows or _judges_no_rows(tally.expectation)]
            refusals += self._run(judged, part, day)
        return refusals

    def _run(self, tallies: Sequence[Tally], rows: pa.Table, day: dt.date | None) -> list[pa.Table]:
        findings = run_suite(self._table, rows.to_pandas(), [tally.expectation for tally in tallies])
        refusals = []
        for tally, finding in zip(tallies, findings, strict=True):
            failed = self._failed(finding)
            tally.add(finding, failed, day)
            if finding.severity == "refuse":
                refusals.append(failed)
        return refusals

    def _failed(self, finding: Finding) -> pa.Table:
        if not len(finding.failed_ids):
            return _REFUSALS.empty_table()
        ids = ibis.memtable(pa.table({ROW_ID: finding.failed_ids}))
        return _arrow(self._sound.semi_join(ids, ROW_ID).select(*PLACE, rule=ibis.literal(finding.rule)))

    def _columns(self, expectations: Sequence[Expectation]) -> pa.Table:
        # Only what the suite looks at, and money as floats: Decimal objects are slow, and a check needs no exactness.
        rows = self._sound
        used = {name for item in expectations for name in columns_read(item)} - {"dt"}
        columns = {name: rows[name] for name in rows.columns if name in used}
        floats = {name: column.cast("float64") for name, column in columns.items() if column.type().is_decimal()}
        return rows.select(ROW_ID, "dt", **columns | floats).to_pyarrow()


def _judges_no_rows(expectation: Expectation) -> bool:
    return expectation.type.startswith("expect_table_")


def _days_before(days: Sequence[dt.date], reach: int) -> list[dt.date]:
    """Return the days within ``reach`` before any of ``days`` that are not among them."""
    first = days[0] - dt.timedelta(days=reach)
    return [day for day in DayRange(first, days[-1]) if day not in days]


def _newest(source: Source, rows: ibis.Table) -> dt.date | None:
    if source.event_time is None:
        return None
    found: dt.date | None = rows[source.event_time].cast("date").max().to_pyarrow().as_py()
    return found


def _without(rows: ibis.Table, refusals: pa.Table) -> ibis.Table:
    return rows.anti_join(ibis.memtable(refusals.select(PLACE)), PLACE) if refusals.num_rows else rows


def _arrow(refusals: ibis.Table) -> pa.Table:
    return refusals.to_pyarrow().cast(_REFUSALS)


def _form_outcomes(source: Source, rows: int, refusals: pa.Table, others: set[str]) -> list[RuleOutcome]:
    counts = refusals.group_by(["rule", "dt"]).aggregate([([], "count_all")]).to_pylist()
    broken: dict[str, dict[dt.date, int]] = {rule: {} for rule in form_rules(source)}
    for item in counts:
        if item["rule"] not in others:
            broken.setdefault(item["rule"], {})[item["dt"]] = item["count_all"]
    return [_form_outcome(source, rows, rule, broken[rule]) for rule in sorted(broken)]


def _form_outcome(source: Source, rows: int, rule: str, days: dict[dt.date, int]) -> RuleOutcome:
    refused = sum(days.values())
    seen = f"{refused:,} of {rows:,} rows" if refused else ""
    return RuleOutcome(rule, "refuse", not refused, refused, seen, limits=in_plain(source, rule), days=in_words(days))
