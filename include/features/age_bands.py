"""Age bands: disjoint ranges of event age, from which every window is a sum of bands.

The age of an event is the number of days between it and the snapshot day. Windows overlap, bands do not: with windows
of 7, 30 and 90 days, band 0 holds ages 0-6, band 1 ages 7-29 and band 2 ages 30-89. Partial aggregates are computed
once for each band; the value of a window combines the bands that it covers.
docs/decisions/0005-features-by-age-bands.md gives the reasons.

A band holds at most 62 days, so that one 64-bit integer has a bit for each of them: the days with an event are the
bitwise OR of these bits, which is much cheaper than a distinct count of days.
"""

from __future__ import annotations

import bisect
import datetime as dt
from collections.abc import Sequence

import ibis
import pyarrow as pa

from include.features.point_in_time import DELIVERY_DAY, EVENT_DAY

AGE, BAND, BIT = "_age", "_band", "_bit"
"""Age in days, 0 on the snapshot day; the band of that age, 0 is the youngest; the bit of the day within its band."""

DAYS_IN_BAND = 62
"""Maximum number of days in a band: their bits fit into a signed 64-bit integer."""


def rows_at_snapshots(rows: ibis.Table, snapshots: Sequence[dt.date], windows: Sequence[int]) -> ibis.Table:
    """Join every row with the snapshots at which it is visible.

    A row is visible at a snapshot if it had happened and been delivered by that day and lies within the longest window.

    Args:
        rows: Rows with ``_event_day`` and ``_delivery_day``.
        snapshots: The snapshot days.
        windows: The windows, in days.

    Returns:
        The rows with ``dt``, ``_age``, ``_band`` and ``_bit``, once for each snapshot.
    """
    joined = rows.inner_join(_ages(sorted(set(snapshots)), windows), EVENT_DAY)
    return joined.filter(joined[DELIVERY_DAY] <= joined["dt"])


def oldest_band(window: int, windows: Sequence[int]) -> int:
    """Return the oldest band that a window covers.

    Args:
        window: The window, in days; one of ``windows``.
        windows: All windows that the bands are cut for, in days.

    Examples:
        >>> oldest_band(30, [7, 30, 180])
        1
        >>> oldest_band(180, [7, 30, 180])  # 30-91, 92-153, 154-179
        4
    """
    return _band_ends(windows).index(window)


def _band_ends(windows: Sequence[int]) -> list[int]:
    ends, start = [], 0
    for window in sorted(set(windows)):
        ends += [*range(start + DAYS_IN_BAND, window, DAYS_IN_BAND), window]
        start = window
    return ends


def _ages(snapshots: Sequence[dt.date], windows: Sequence[int]) -> ibis.Table:
    ends = _band_ends(windows)
    bands = [bisect.bisect_right(ends, age) for age in range(ends[-1])]
    bits = [1 << (age - (ends[band - 1] if band else 0)) for age, band in enumerate(bands)]
    pairs = [(day, age) for day in snapshots for age in range(ends[-1])]
    return ibis.memtable(
        pa.table(
            {
                EVENT_DAY: pa.array([day - dt.timedelta(days=age) for day, age in pairs], pa.date32()),
                "dt": pa.array([day for day, _ in pairs], pa.date32()),
                AGE: pa.array([age for _, age in pairs], pa.int32()),
                BAND: pa.array([bands[age] for _, age in pairs], pa.int32()),
                BIT: pa.array([bits[age] for _, age in pairs], pa.int64()),
            }
        )
    )
