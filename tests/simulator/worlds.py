"""Small simulated worlds, and functions that read their files."""

from __future__ import annotations

import datetime as dt
import json
from functools import lru_cache
from pathlib import Path

import pandas as pd

from simulator import World
from simulator.generate import LANDING

FIRST = dt.date(2023, 1, 1)
DAYS = 200
LAST = FIRST + dt.timedelta(days=DAYS - 1)
SMALL = World(customers=4_000, first_day=FIRST, seed=3, pace_days=DAYS)
TINY = World(customers=300, first_day=FIRST, seed=5, pace_days=100)


def day(number: int) -> dt.date:
    """The day with the given number, from 0."""
    return FIRST + dt.timedelta(days=number)


@lru_cache(maxsize=32)
def read(out: Path, source: str, *days: dt.date) -> pd.DataFrame:
    """Read the files of the given days, or of all days."""
    paths = sorted((out / LANDING / source).glob("*"))
    wanted = [path for path in paths if (not days or path.stem in map(str, days)) and path.stat().st_size]
    return pd.concat([_read(path) for path in wanted], ignore_index=True)


def _read(path: Path) -> pd.DataFrame:
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    if path.suffix == ".csv":
        return pd.read_csv(path, parse_dates=["signup_date", "updated_at"], date_format="ISO8601")
    return pd.DataFrame([json.loads(line) for line in path.read_text().splitlines()]).astype({"satisfaction": float})


def content(out: Path, *below: str) -> dict[str, bytes]:
    """The content of every file below the folders, by path."""
    paths = [path for folder in below for path in sorted((out / folder).rglob("*")) if path.is_file()]
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}
