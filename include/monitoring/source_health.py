"""The health of the sources of features and label: number of rows, days without rows, schema and quarantine.

The result depends only on the lake, the stored audits and the day. A day that is monitored again has the same result.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from include.days import DayRange
from include.features.lookback import feature_sources, gold_sources
from include.lake import Lake
from include.lake.table_names import quarantine_table, silver_table
from include.monitoring.source_rows import (
    HISTORY_DAYS,
    Freshness,
    SourceRows,
    Volume,
    compare_freshness,
    compare_volume,
)
from include.plurals import counted
from include.projects import Project
from include.sources.audit.results import Change, load_audits

QUARANTINE_SHARE = 0.005
"""The smallest increase of the share of quarantined rows that is a finding."""

_BETWEEN_RULES = re.compile(r", (?![^()]*\))")
"""The separator of rules; a comma in parentheses separates the columns of one rule."""

FindingKind = Literal["volume", "freshness", "schema", "quarantine"]


@dataclass(frozen=True)
class SourceFinding:
    """One unusual property of the deliveries of a source.

    Attributes:
        kind: The property.
        text: The finding in words, as a part of a sentence.
    """

    kind: FindingKind
    text: str


@dataclass(frozen=True)
class SourceHealth:
    """The deliveries of one source up to a day.

    Attributes:
        name: The source.
        counts: Whether its severity counts for the verdict of drift: influential features, the population or the label
            are computed from it.
        exceeds: Whether it counts and its severity reaches ``multiplier``, so that it makes the day exceed the limits.
        severity: The larger of two numbers: the fall of the number of rows divided by its limit, and the days without
            rows divided by the longest earlier gap; 0 if there is no rule for either.
        rows: The rows of the window that ends with the day; of a snapshot, the rows of the newest delivery.
        expected_rows: The expected rows of the window, from the same weekdays of the weeks up to the model's last
            training day; of a snapshot, the rows of the last delivery up to that day. None if they are unknown.
        newest: The newest day with rows, as text; None if there is none.
        days_without_rows: The loaded days since then.
        longest_gap: The largest earlier number of loaded days without rows; None if there are too few deliveries.
        quarantined: The rows of the window in quarantine, by rule.
        findings: The findings.
    """

    name: str
    counts: bool
    exceeds: bool
    severity: float
    rows: int
    expected_rows: float | None
    newest: str | None
    days_without_rows: int
    longest_gap: int | None
    quarantined: Mapping[str, int]
    findings: tuple[SourceFinding, ...]

    @property
    def change(self) -> float | None:
        """The relative change of the number of rows; None if no rows are expected."""
        return self.rows / self.expected_rows - 1 if self.expected_rows else None

    def as_dict(self) -> dict[str, Any]:
        """Return the health as plain JSON types."""
        return asdict(self) | {"change": self.change, "findings": [asdict(finding) for finding in self.findings]}


def counting_sources(project: Project, influences: Mapping[str, float]) -> frozenset[str]:
    """Return the sources of the population, of the label and of the features with at least ``min_influence``.

    Args:
        project: The project.
        influences: The influence of each feature of the model, from 0 to 1.
    """
    used = [
        name
        for feature, names in feature_sources(project).items()
        if influences.get(feature, 0.0) >= project.monitoring.drift.min_influence
        for name in names
    ]
    return frozenset({project.population.source, project.label.source, *used})


def source_severity(
    rows: Mapping[str, SourceRows], counting: Set[str], project: Project, trained_through: dt.date, day: dt.date
) -> float:
    """Return the largest severity of the sources that count on a day; 0 if nothing is unusual.

    Args:
        rows: The number of rows of each source by day; see ``read_source_rows``.
        counting: The sources that count.
        project: The project with the length of the window.
        trained_through: The last day of the model's training rows.
        day: The day.
    """
    found = [_compare(rows[name], project, trained_through, day) for name in rows.keys() & counting]
    return max((_severity(*item) for item in found), default=0.0)


def source_health(
    lake: Lake,
    project: Project,
    rows: Mapping[str, SourceRows],
    counting: Set[str],
    reports_dir: Path,
    trained_through: dt.date,
    day: dt.date,
) -> tuple[SourceHealth, ...]:
    """Return the health of each source of the features, the population and the label, the most severe first.

    Args:
        lake: The lake with the quarantine tables.
        project: The project.
        rows: The number of rows of each source by day; see ``read_source_rows``.
        counting: The sources that count for the verdict of drift.
        reports_dir: The project's folder of reports, with the audits.
        trained_through: The last day of the model's training rows.
        day: The day.
    """
    changes = _schema_changes(project, reports_dir / "audit", trained_through, day)
    names = sorted({*gold_sources(project), project.label.source} & rows.keys())
    window = DayRange.ending(day, project.monitoring.window_days)
    found = []
    for name in names:
        volume, freshness = _compare(rows[name], project, trained_through, day)
        severity = _severity(volume, freshness)
        quarantined, finding = _quarantine(lake, name, window, trained_through)
        findings = [
            *_volume_findings(volume),
            *_freshness_findings(freshness),
            *(SourceFinding("schema", text) for text in changes.get(name, [])),
            *([finding] if finding else []),
        ]
        found.append(
            SourceHealth(
                name=name,
                counts=name in counting,
                exceeds=name in counting and severity >= project.monitoring.drift.multiplier,
                severity=severity,
                rows=volume.rows,
                expected_rows=volume.expected,
                newest=str(freshness.newest) if freshness.newest else None,
                days_without_rows=freshness.days_without_rows,
                longest_gap=freshness.longest_gap,
                quarantined=quarantined,
                findings=tuple(findings),
            )
        )
    return tuple(sorted(found, key=lambda source: (-source.severity, source.name)))


def _compare(rows: SourceRows, project: Project, trained_through: dt.date, day: dt.date) -> tuple[Volume, Freshness]:
    if day < rows.first:
        return Volume(0), Freshness(None, 0, None)
    volume = compare_volume(rows, day, trained_through, project.monitoring.window_days)
    return volume, compare_freshness(rows, day, trained_through)


def _severity(volume: Volume, freshness: Freshness) -> float:
    return max(volume.severity if volume.fell else 0.0, freshness.severity)


def _volume_findings(volume: Volume) -> list[SourceFinding]:
    if volume.severity < 1 or volume.change is None:
        return []
    verb = "fell" if volume.fell else "rose"
    since = f" since {volume.since}" if volume.since else ""
    text = f"rows {verb} by {abs(volume.change):.0%}{since} ({volume.rows:,} instead of {volume.expected:,.0f})"
    return [SourceFinding("volume", text)]


def _freshness_findings(freshness: Freshness) -> list[SourceFinding]:
    if freshness.longest_gap is None or freshness.days_without_rows <= freshness.longest_gap:
        return []
    return [
        SourceFinding(
            "freshness",
            f"no rows for {counted(freshness.days_without_rows, 'day')}, the last on {freshness.newest} "
            f"(the longest earlier gap is {counted(freshness.longest_gap, 'day')})",
        )
    ]


def _schema_changes(project: Project, audits: Path, after: dt.date, day: dt.date) -> dict[str, list[str]]:
    """Return the schema changes of the deliveries after ``after`` and up to ``day`` by source, with their first day."""
    found: dict[str, dict[tuple[str, str], dt.date]] = {}
    for audit in load_audits(audits, project.name, after):
        for name, source in audit.sources.items():
            for change in source.changes:
                if change.day and after < change.day <= day:
                    first = found.setdefault(name, {})
                    first[_key(change)] = min(first.get(_key(change), change.day), change.day)
    return {
        name: [f"column {column!r} {what} ({first})" for (column, what), first in sorted(changes.items())]
        for name, changes in found.items()
    }


def _key(change: Change) -> tuple[str, str]:
    return change.column, change.what


def _quarantine(
    lake: Lake, name: str, window: DayRange, trained_through: dt.date
) -> tuple[dict[str, int], SourceFinding | None]:
    quarantine, silver = lake.table(quarantine_table(name)), lake.table(silver_table(name))
    refused = sum(quarantine.row_counts(window).values())
    if not refused:
        return {}, None
    rules = Counter(
        rule for text in quarantine.read(window, ["rules"])["rules"].to_pylist() for rule in _BETWEEN_RULES.split(text)
    )
    earlier = DayRange.ending(min(trained_through, window.last), HISTORY_DAYS)
    past, kept = (sum(table.row_counts(earlier).values()) for table in (quarantine, silver))
    usual = past / (past + kept) if past + kept else 0.0
    total = refused + sum(silver.row_counts(window).values())
    expected = usual * total
    # A difference of up to three standard errors of a Poisson number may be chance.
    if refused - expected <= max(QUARANTINE_SHARE * total, 3 * max(1.0, expected) ** 0.5):
        return dict(rules.most_common()), None
    reasons = ", ".join(f"{count:,} by {rule!r}" for rule, count in rules.most_common())
    text = f"{refused:,} of {total:,} rows in quarantine ({refused / total:.1%}; {usual:.1%} before): {reasons}"
    return dict(rules.most_common()), SourceFinding("quarantine", text)
