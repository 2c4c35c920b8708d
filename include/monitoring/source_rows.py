"""The rows of each source by day, and the rules on their number: fewer or more rows than usual, and days without rows.

The number of rows is read from the Delta log of the silver tables, so no rows are read. A *loaded* day is a day that
the ingest has finished. Other days are left out, since their rows are unknown.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from include.days import DayRange
from include.lake import Lake
from include.lake.table_names import SILVER_DAYS_TABLE, silver_table
from include.projects import Project
from include.sources.kept_days import first_kept

FALL, RISE = 0.30, 0.50
"""The smallest fall and rise of the number of rows that are findings."""
REFERENCE_WEEKS = 4
"""The expected rows of a day are the median of the same weekday in this number of weeks up to the last training day."""
HISTORY_DAYS = 730
"""The number of days up to the last training day from which the natural variation is computed."""
MIN_ROWS = 20
"""With fewer expected rows in a window, there is no rule on the number of rows, since it varies too much by chance."""
MIN_COMPARISONS = 28
"""With fewer past windows to compare, the natural variation is unknown, and there is no rule on the number of rows."""
MIN_DELIVERIES = 20
"""With fewer past days with rows, there is no rule on the gaps between them.

If n gaps have an exponential distribution, the next gap exceeds 1.5 times the longest with the probability
n! Γ(2.5) / Γ(n + 2.5), which is 1.4 % for n = 20.
"""


@dataclass(frozen=True)
class SourceRows:
    """The number of rows of one source by day.

    Attributes:
        is_daily: Whether every day has a delivery, which may have no rows; otherwise a delivery is a whole table.
        first: The first loaded day.
        rows: The rows of each day from ``first`` on; zero if there is none.
        loaded: Whether each day is loaded.
    """

    is_daily: bool
    first: dt.date
    rows: NDArray[np.int64]
    loaded: NDArray[np.bool_]


class Volume(NamedTuple):
    """The number of rows of a window, compared with the weeks up to the last training day.

    Attributes:
        rows: The number of rows; of a source without daily deliveries, the rows of the newest delivery.
        expected: The expected number of rows; None if it cannot be computed.
        limit: The largest natural change, as the absolute logarithm of a ratio; None if there is no rule.
        since: The first of the consecutive days up to the last day with a changed number of rows; None if the number of
            rows of the last day has not changed.
    """

    rows: int
    expected: float | None = None
    limit: float | None = None
    since: dt.date | None = None

    @property
    def change(self) -> float | None:
        """The relative change of the number of rows; None if no rows are expected."""
        return self.rows / self.expected - 1 if self.expected else None

    @property
    def fell(self) -> bool:
        """Whether there are fewer rows than expected."""
        return self.expected is not None and self.rows < self.expected

    @property
    def severity(self) -> float:
        """The absolute logarithm of the ratio, divided by its limit; 0 if there is no rule."""
        if self.expected is None or self.limit is None:
            return 0.0
        ratio = math.log((self.rows + 1) / (self.expected + 1))
        return abs(ratio) / max(self.limit, -math.log(1 - FALL) if ratio < 0 else math.log(1 + RISE))


class Freshness(NamedTuple):
    """The days since the last rows.

    Attributes:
        newest: The newest day with rows; None if there is none.
        days_without_rows: The loaded days since then.
        longest_gap: The largest earlier number of loaded days without rows; None if there is no rule.
    """

    newest: dt.date | None
    days_without_rows: int
    longest_gap: int | None

    @property
    def severity(self) -> float:
        """The days without rows, divided by the longest earlier gap, which counts as at least one day."""
        return 0.0 if self.longest_gap is None else self.days_without_rows / max(1, self.longest_gap)


def read_source_rows(lake: Lake, project: Project, last: dt.date) -> dict[str, SourceRows]:
    """Return the number of rows by day up to ``last`` of each source; empty before the first ingest.

    Args:
        lake: The lake with the silver tables.
        project: The project.
        last: The last day to read.
    """
    loaded = [day for day in lake.table(SILVER_DAYS_TABLE).days() if day <= last]
    if not loaded:
        return {}
    days = DayRange(loaded[0], last)
    is_loaded = np.isin(np.arange(len(days)), [(day - days.first).days for day in loaded])
    kept = first_kept(lake) or days.first
    is_kept = np.arange(len(days)) >= (kept - days.first).days
    found = {}
    for name, source in project.sources.items():
        rows = np.zeros(len(days), dtype=np.int64)
        for day, count in lake.table(silver_table(name)).row_counts(days).items():
            rows[(day - days.first).days] = count
        # The events before the first kept day were removed, so that their number is not known.
        known = is_loaded & is_kept if source.kind == "events" else is_loaded
        found[name] = SourceRows(source.is_daily, days.first, rows, known)
    return found


def compare_volume(source: SourceRows, day: dt.date, trained_through: dt.date, window_days: int) -> Volume:
    """Compare the rows of the ``window_days`` that end with ``day`` with the weeks up to ``trained_through``.

    The limit is the largest change between past windows and the weeks at the same distance before them, and at least
    three standard errors of a Poisson number. Seasons and irregular deliveries in the history therefore raise the
    limit. The day of the first delivery is left out, since this delivery may contain a whole table.

    Args:
        source: The rows of the source.
        day: The last day of the window.
        trained_through: The last day of the model's training rows.
        window_days: The number of days of the window.
    """
    end, trained = (day - source.first).days, (min(trained_through, day) - source.first).days
    if not source.is_daily:
        return _compare_deliveries(source, end, trained)
    rows = int(source.rows[max(0, end - window_days + 1) : end + 1].sum())
    known = _known_rows(source)
    sums = _window_sums(known, window_days)
    distance = end - trained
    expected = _expected_sums(known, distance, window_days)
    if not np.isfinite(sums[end]) or not np.isfinite(expected[end]):
        return Volume(rows)
    usual = float(expected[end])
    past = slice(max(0, trained - HISTORY_DAYS), max(0, trained + 1))
    changes = np.abs(np.log((sums[past] + 1) / (expected[past] + 1)))
    changes = changes[np.isfinite(changes)]
    if usual < MIN_ROWS or len(changes) < MIN_COMPARISONS:
        return Volume(rows, usual)
    volume = Volume(rows, usual, max(float(changes.max()), 3 / usual**0.5))
    return volume._replace(since=_changed_since(source, known, end, trained, rows < usual))


def compare_freshness(source: SourceRows, day: dt.date, trained_through: dt.date) -> Freshness:
    """Compare the loaded days without rows up to ``day`` with the longest gap up to ``trained_through``.

    Args:
        source: The rows of the source.
        day: The day.
        trained_through: The last day of the model's training rows.
    """
    end, trained = (day - source.first).days, (trained_through - source.first).days
    with_rows = np.flatnonzero(source.rows[: end + 1])
    if not with_rows.size:
        return Freshness(None, int(source.loaded[: end + 1].sum()), None)
    loaded_until = np.cumsum(source.loaded)
    newest = int(with_rows[-1])
    without = int(loaded_until[end] - loaded_until[newest])
    usual = with_rows[(with_rows <= trained) & (with_rows > trained - HISTORY_DAYS)]
    gaps = np.diff(loaded_until[usual]) - 1
    longest = int(gaps.max()) if len(usual) >= MIN_DELIVERIES else None
    return Freshness(source.first + dt.timedelta(days=newest), without, longest)


def _compare_deliveries(source: SourceRows, end: int, trained: int) -> Volume:
    with_rows = np.flatnonzero(source.rows[: end + 1])
    before = with_rows[with_rows <= trained]
    if not with_rows.size:
        return Volume(0)
    rows = int(source.rows[with_rows[-1]])
    if not before.size:
        return Volume(rows)
    expected = float(source.rows[before[-1]])
    if expected < MIN_ROWS:
        return Volume(rows, expected)
    since = source.first + dt.timedelta(days=int(with_rows[-1])) if with_rows[-1] > trained else None
    return Volume(rows, expected, 3 / expected**0.5, since)


def _known_rows(source: SourceRows) -> NDArray[np.float64]:
    """Return the rows by day; NaN for days that are not loaded and for the days up to the first delivery."""
    known = np.where(source.loaded, source.rows.astype(float), np.nan)
    with_rows = np.flatnonzero(source.rows)
    known[: (with_rows[0] if with_rows.size else len(known) - 1) + 1] = np.nan
    return known


def _window_sums(known: NDArray[np.float64], window_days: int) -> NDArray[np.float64]:
    """Return for each day the rows of the window that ends with it; NaN if a day is unknown."""
    return sum(_shifted(known, days) for days in range(window_days))  # type: ignore[return-value]


def _expected_sums(known: NDArray[np.float64], distance: int, window_days: int) -> NDArray[np.float64]:
    """Return for each day the expected rows of the window that ends with it, from the weeks ``distance`` days before.

    The expected rows of a day are the median of the same weekday in the ``REFERENCE_WEEKS`` that end ``distance`` days
    before the end of the window; NaN if one of these days is unknown.
    """
    total = np.zeros(len(known))
    for back in range(window_days):
        total += _shifted(_same_weekday(known, distance - back), back)
    return total


def _same_weekday(known: NDArray[np.float64], distance: int) -> NDArray[np.float64]:
    """Return for each day the median of the same weekday in the reference weeks, which end ``distance`` days before."""
    nearest = max(0, -(-distance // 7))
    return np.asarray(np.median([_shifted(known, 7 * (nearest + week)) for week in range(REFERENCE_WEEKS)], axis=0))


def _shifted(values: NDArray[np.float64], days: int) -> NDArray[np.float64]:
    """Return the value ``days`` days before each day; NaN if there is none."""
    if not days:
        return values
    return np.concatenate([np.full(min(days, len(values)), np.nan), values[:-days]])


def _changed_since(
    source: SourceRows, known: NDArray[np.float64], end: int, trained: int, fell: bool
) -> dt.date | None:
    first = end + 1
    for index in range(end, trained, -1):
        expected = float(_same_weekday(known, index - trained)[index])
        ratio = known[index] / expected if expected else np.nan
        if not (ratio <= 1 - FALL if fell else ratio >= 1 + RISE):
            break
        first = index
    return source.first + dt.timedelta(days=first) if first <= end else None
