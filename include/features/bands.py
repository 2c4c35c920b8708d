"""Ages and bands: how old an event is at a snapshot day, and between which two windows that age lies.

Windows overlap, bands do not: with windows of 7, 30 and 90 days, band 0 holds ages 0-6, band 1 ages 7-29 and band 2
ages 30-89. What is aggregated once by band is then added up over bands for every window, instead of being aggregated
once for every window.
"""

from __future__ import annotations

import bisect
import datetime as dt
from collections.abc import Sequence

import ibis
import pyarrow as pa

from include.features.events import HAPPENED, KNOWN

AGE, BAND = "_age", "_band"
"""Age in days, 0 on the snapshot day itself; the number of windows that end before that age."""


def at_snapshots(rows: ibis.Table, snapshots: Sequence[dt.date], windows: Sequence[int]) -> ibis.Table:
    """Return ``rows`` once for every snapshot that may see them: happened and known by then, within the longest window.

    Args:
        rows: Rows with ``_happened`` and ``_known``.
        snapshots: The snapshot days.
        windows: The windows, in days.

    Returns:
        The rows with ``dt``, ``_age`` and ``_band``.
    """
    joined = rows.inner_join(_ages(sorted(set(snapshots)), sorted(set(windows))), HAPPENED)
    return joined.filter(joined[KNOWN] <= joined["dt"])


def _ages(snapshots: Sequence[dt.date], windows: Sequence[int]) -> ibis.Table:
    pairs = [(day, age) for day in snapshots for age in range(windows[-1])]
    return ibis.memtable(
        pa.table(
            {
                HAPPENED: pa.array([day - dt.timedelta(days=age) for day, age in pairs], pa.date32()),
                "dt": pa.array([day for day, _ in pairs], pa.date32()),
                AGE: pa.array([age for _, age in pairs], pa.int32()),
                BAND: pa.array([bisect.bisect_right(windows, age) for _, age in pairs], pa.int32()),
            }
        )
    )
