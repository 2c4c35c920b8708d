"""The rules on whole tables: row count, freshness, foreign keys and spelling. They refuse no rows."""

from __future__ import annotations

import bisect
import datetime as dt
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from typing import Literal

import ibis
from ibis.expr.types import StringValue

from include.days import DayRange
from include.lake import Engine, Lake
from include.lake.table_names import bronze_table, silver_table
from include.plurals import counted
from include.projects import Project, Source
from include.projects.features import Share
from include.projects.label import ColumnLabel, NoEventLabel
from include.projects.sources import ForeignKey, Freshness, RowCount
from include.quality.gate import RuleOutcome
from include.quality.row_rules import typed_texts
from include.quality.silver_days import loaded_days
from include.quality.source_checks import ROW_KEY, CheckedSource, newest_event
from include.quality.suite import describe_days


def table_outcomes(
    project: Project, lake: Lake, item: CheckedSource, checked: Mapping[str, CheckedSource], delivered: Set[dt.date]
) -> list[RuleOutcome]:
    """Evaluate the table rules of one source.

    Args:
        project: The project.
        lake: Its lake.
        item: The checked rows of the source.
        checked: The checked rows of all sources, since referenced rows may arrive in the same run.
        delivered: The days that have a delivery of the source.
    """
    outcomes = _spellings(project, lake, item)
    checks = project.checks.get(item.name)
    if checks is None:
        return outcomes
    source = project.sources[item.name]
    if checks.row_count:
        outcomes.append(_row_count(lake, source, checks.row_count, item, delivered))
    if checks.freshness:
        outcomes.append(_freshness(project, lake, checks.freshness, item))
    return outcomes + [_foreign_key(project, lake, key, item, checked[key.source]) for key in checks.foreign_keys]


def _spellings(project: Project, lake: Lake, item: CheckedSource) -> list[RuleOutcome]:
    """Compare the texts of each column with the values of the column in the configuration.

    A text that differs from such a value only in case or blanks would count as another value.
    """
    named: dict[tuple[str, str], set[str]] = {}
    for column, severity, values in _named_values(project, item.name):
        named.setdefault((column, severity), set()).update(values)
    return [_spelling(project, lake, item, *key, values) for key, values in named.items()] if item.rows else []


def _named_values(project: Project, name: str) -> Iterator[tuple[str, Literal["stop", "warn"], list[str]]]:
    label, population = project.label, project.population
    used: list[tuple[str, str, Literal["stop", "warn"], list[str]]] = []
    if not isinstance(label, NoEventLabel):
        others = (label.other_values or []) if isinstance(label, ColumnLabel) else []
        used.append((label.source, label.column, "stop", [label.value, *others]))
    if population.column and population.values:
        used.append((population.source, population.column, "stop", population.values))
    shares = [spec.calculation for spec in project.features if isinstance(spec.calculation, Share)]
    used += [(share.source, share.column, "warn", [share.value]) for share in shares]
    # A looked-up column is compared in the source that delivers it.
    looked_up = {
        (other, column)
        for other, source in project.sources.items()
        for look in source.lookups
        if look.source == name
        for column in look.columns
    }
    for other, column, severity, values in used:
        if column in project.sources[name].columns and (other == name or (other, column) in looked_up):
            yield column, severity, values


def _spelling(
    project: Project, lake: Lake, item: CheckedSource, column: str, severity: str, named: Set[str]
) -> RuleOutcome:
    texts = _kept(project, lake, column, item, lake.connect())
    wanted = ibis.memtable({"named": sorted(named)})
    same = _folded(texts["value"]) == _folded(wanted["named"])
    near = texts.filter(~texts["value"].isin(sorted(named))).inner_join(wanted, same)
    found = near.group_by("dt", "value", "named").agg(rows=near.count()).order_by("value", "named").to_pyarrow()
    rows, by_day = Counter[tuple[str, str]](), Counter[dt.date]()
    for one in found.to_pylist():
        rows[one["value"], one["named"]] += one["rows"]
        by_day[one["dt"]] += one["rows"]
    observed = [
        f"{value!r} ({counted(count, 'row')}), which differs from {name!r} only in case or blanks"
        for (value, name), count in rows.items()
    ]
    limits = f"no text differs from {', '.join(map(repr, sorted(named)))} only in case or blanks"
    return RuleOutcome(
        f"spelling:{column}",
        severity,
        not rows,
        0,
        _first_three(observed, "texts"),
        True,
        limits,
        describe_days(by_day),
    )


def _folded(text: StringValue) -> StringValue:
    return text.lower().re_replace(r"\s+", " ").strip()


def _row_count(lake: Lake, source: Source, rule: RowCount, item: CheckedSource, delivered: Set[dt.date]) -> RuleOutcome:
    # Each day of the range is compared with earlier days, before and within the range.
    table = lake.table(bronze_table(item.name))
    earlier = [day for day in table.days() if day < item.days[0]][-rule.history_days :]
    counts = table.row_counts([*earlier, *item.days])
    present = sorted(counts)
    judged, violations = 0, {}
    for day in sorted(delivered):
        history = present[: bisect.bisect_left(present, day)][-rule.history_days :]
        count = counts.get(day, 0)
        if len(history) < rule.minimum_days or (not count and source.allow_no_rows):
            continue
        judged += 1
        median = statistics.median(counts[other] for other in history)
        if not rule.min_ratio * median <= count <= rule.max_ratio * median:
            violations[day] = (count, median)
    observed = [
        f"{counted(count, 'row')} on {day}; the median is {median:,.0f}" for day, (count, median) in violations.items()
    ]
    return RuleOutcome(
        "row_count",
        rule.severity,
        not violations,
        0,
        _first_three(observed, "days") if judged else f"fewer than {counted(rule.minimum_days, 'earlier day')}",
        judged > 0,
        f"{rule.min_ratio:g} to {rule.max_ratio:g} times the median of the last "
        f"{counted(rule.history_days, 'day')} with rows",
        describe_days(dict.fromkeys(violations, 1)),
    )


def _freshness(project: Project, lake: Lake, rule: Freshness, item: CheckedSource) -> RuleOutcome:
    source, last = project.sources[item.name], item.days[-1]
    what = "event" if source.event_time else "delivery"
    newest = _newest_event(project, lake, rule, item) if source.event_time else _newest_delivery(lake, item)
    fresh = newest is not None and (last - newest).days <= rule.max_age_days
    judged = fresh or not source.is_daily or _has_days_before(lake, item, rule.max_age_days)
    observed = f"{newest} as the newest {what}" if newest else f"no {what} within {counted(rule.max_age_days, 'day')}"
    limits = f"the newest {what} is at most {counted(rule.max_age_days, 'day')} old on the last day"
    success = fresh or not judged
    days = "" if success else str(last)
    return RuleOutcome("freshness", rule.severity, success, 0, f"{observed} by {last}", judged, limits, days)


def _has_days_before(lake: Lake, item: CheckedSource, age: int) -> bool:
    # A backfill may load days in any order: a day that is not loaded yet is not late.
    wanted = set(DayRange.ending(item.days[-1], age + 1)) - set(item.days)
    return not wanted or wanted <= loaded_days(lake, item.name, DayRange(min(wanted), max(wanted)))


def _newest_event(project: Project, lake: Lake, rule: Freshness, item: CheckedSource) -> dt.date | None:
    # An event is delivered on its day or later, so every sufficiently new event is in these days.
    newest, table = item.newest, lake.table(silver_table(item.name))
    before = DayRange.ending(item.days[0] - dt.timedelta(days=1), rule.max_age_days + 1)
    if table.exists():
        stored = newest_event(project.sources[item.name], table.scan(lake.connect(), before), project.timezone)
        newest = max(filter(None, [newest, stored]), default=None)
    return newest


def _newest_delivery(lake: Lake, item: CheckedSource) -> dt.date | None:
    return max((day for day in lake.table(bronze_table(item.name)).days() if day <= item.days[-1]), default=None)


def _foreign_key(
    project: Project, lake: Lake, key: ForeignKey, item: CheckedSource, other: CheckedSource
) -> RuleOutcome:
    engine = lake.connect()
    there = _values_in_force(project, lake, key, other, engine)
    here = _kept(project, lake, key.column, item, engine)
    complete = _complete_until(project, lake, key, other)
    here = here.filter(here["value"].notnull() & (here["dt"] <= complete))
    in_force = [here["value"] == there["value"], here["dt"] >= there["since"], here["dt"] < there["until"]]
    joined = here.left_join(there, in_force)
    lacks = joined["since"].isnull().sum()
    by_day = joined.group_by("dt").agg(rows=joined.count(), orphans=lacks).to_pyarrow().to_pylist()
    orphans = {row["dt"]: row["orphans"] for row in by_day if row["orphans"]}
    total, lost = sum(row["rows"] for row in by_day), sum(orphans.values())
    share = 1 - lost / total if total else 1.0
    return RuleOutcome(
        f"foreign_key({key.column}) in {key.source}.{key.references}",
        key.severity,
        share >= key.min_share,
        0,
        f"{lost:,} of {counted(total, 'row')} without a match"
        if total
        else f"no rows, or {key.source} lacks earlier days",
        total > 0,
        f"{key.min_share:.2%} of the rows have a match on their day",
        describe_days(orphans),
    )


def _complete_until(project: Project, lake: Lake, key: ForeignKey, other: CheckedSource) -> dt.date:
    """Return the last day up to which all deliveries of the referenced source are loaded.

    A backfill may load days in any order, so rows after this day are not checked.
    """
    last = other.days[-1]
    if project.sources[key.source].kind == "snapshot":
        return last
    loaded = loaded_days(lake, key.source, DayRange(min(project.first_day, last), last)) | set(other.days)
    gap = next((day for day in DayRange(min(loaded), last) if day not in loaded), None)
    return gap - dt.timedelta(days=1) if gap else last


def _values_in_force(project: Project, lake: Lake, key: ForeignKey, other: CheckedSource, engine: Engine) -> ibis.Table:
    """Return ``value, since, until``: the values, their first day, and the first day without them."""
    parts = [_kept(project, lake, key.references, other, engine)]
    silver = lake.table(silver_table(key.source))
    earlier = [day for day in silver.days() if day < other.days[0]]
    if project.sources[key.source].kind == "snapshot":
        earlier = earlier[-1:]
    if earlier:
        stored = silver.scan(engine, earlier)
        parts.append(stored.select("dt", value=stored[key.references].cast("string")))
    rows = engine.create_table(
        "referred", ibis.union(*parts, distinct=True) if len(parts) > 1 else parts[0].distinct(), temp=True
    )
    if project.sources[key.source].kind == "changes":
        since = rows.group_by("value").agg(since=rows["dt"].min())
        return since.mutate(until=ibis.date("9999-12-31"))
    deliveries = rows.select("dt").distinct()
    following = ibis.window(order_by="dt", rows=(1, 1))
    until = deliveries.mutate(until=deliveries["dt"].lead().over(following).fill_null(ibis.date("9999-12-31")))
    return rows.inner_join(until, "dt").select("value", since="dt", until="until")


def _kept(project: Project, lake: Lake, column: str, item: CheckedSource, engine: Engine) -> ibis.Table:
    """Return ``dt, value``: the column, as text, of the rows that are not refused."""
    bronze = lake.table(bronze_table(item.name)).scan(engine, item.days)
    texts = typed_texts(project.sources[item.name], engine, bronze, column)
    return texts.anti_join(ibis.memtable(item.refusals.select(ROW_KEY)), ROW_KEY).select("dt", "value")


def _first_three(observed: list[str], what: str) -> str:
    more = len(observed) - 3
    return "; ".join(observed[:3]) + (f"; and {more} more {what}" if more > 0 else "")
