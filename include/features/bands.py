"""Ages and bands: how old an event is at a snapshot day, and between which two windows that age lies.

Windows overlap, bands do not: with windows of 7, 30 and 90 days, band 0 holds ages 0-6, band 1 ages 7-29 and band 2
ages 30-89. What is aggregated once by band is then added up over bands for every window, instead of being aggregated
once for every window. A band holds so few days that each has a bit of its own in one whole number: the days with an
event are those bits or-ed together, which is far cheaper than to tell days apart.
"""

from __future__ import annotations

import bisect
import datetime as dt
from collections.abc import Sequence

import ibis
import pyarrow as pa

from include.features.events import HAPPENED, KNOWN

AGE, BAND, BIT = "_age", "_band", "_bit"
"""Age in days, 0 on the snapshot day itself; the band of that age, 0 for the youngest; the day's bit in its band."""

DAYS_IN_BAND = 62
"""How many days a band holds at most: their bits fit into a signed 64-bit number."""


def at_snapshots(rows: ibis.Table, snapshots: Sequence[dt.date], windows: Sequence[int]) -> ibis.Table:
    """Return ``rows`` once for every snapshot that may see them: happened and known by then, within the longest window.

    Args:
        rows: Rows with ``_happened`` and ``_known``.
        snapshots: The snapshot days.
        windows: The windows, in days.

    Returns:
        The rows with ``dt``, ``_age``, ``_band`` and ``_bit``.
    """
    joined = rows.inner_join(_ages(sorted(set(snapshots)), windows), HAPPENED)
    return joined.filter(joined[KNOWN] <= joined["dt"])


def last_band(window: int, windows: Sequence[int]) -> int:
    """Return the oldest band that ``window`` holds, where bands are cut for ``windows``.

    Examples:
        >>> last_band(30, [7, 30, 180])
        1
        >>> last_band(180, [7, 30, 180])  # 30-91, 92-153, 154-179
        4
    """
    return _ends(windows).index(window)


def _ends(windows: Sequence[int]) -> list[int]:
    ends, start = [], 0
    for window in sorted(set(windows)):
        ends += [*range(start + DAYS_IN_BAND, window, DAYS_IN_BAND), window]
        start = window
    return ends


def _ages(snapshots: Sequence[dt.date], windows: Sequence[int]) -> ibis.Table:
    ends = _ends(windows)
    bands = [bisect.bisect_right(ends, age) for age in range(ends[-1])]
    bits = [1 << (age - (ends[band - 1] if band else 0)) for age, band in enumerate(bands)]
    pairs = [(day, age) for day in snapshots for age in range(ends[-1])]
    return ibis.memtable(
        pa.table(
            {
                HAPPENED: pa.array([day - dt.timedelta(days=age) for day, age in pairs], pa.date32()),
                "dt": pa.array([day for day, _ in pairs], pa.date32()),
                AGE: pa.array([age for _, age in pairs], pa.int32()),
                BAND: pa.array([bands[age] for _, age in pairs], pa.int32()),
                BIT: pa.array([bits[age] for _, age in pairs], pa.int64()),
            }
        )
    )
