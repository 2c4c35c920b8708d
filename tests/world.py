"""Seeded random landing files for the grocery project."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from include.days import DayRange
from include.lake import Lake
from include.projects import Project, load_project
from include.quality.silver import build_silver
from include.sources.bronze import load_bronze
from include.sources.connections import Connections

FIRST = dt.date(2017, 1, 1)

TRANSACTION_SCHEMA = pa.schema(
    [
        ("household_id", pa.int64()),
        ("store_id", pa.int64()),
        ("basket_id", pa.int64()),
        ("product_id", pa.int64()),
        ("quantity", pa.int64()),
        ("sales_value", pa.float64()),
        ("retail_disc", pa.float64()),
        ("coupon_disc", pa.float64()),
        ("coupon_match_disc", pa.float64()),
        ("transaction_timestamp", pa.timestamp("us")),
    ]
)


def grocery() -> Project:
    return load_project("grocery")


def transactions(day: dt.date, seed: int = 0, households: int = 30) -> pa.Table:
    """Return the transactions of one day: about a third of the households buy one basket of a few products."""
    rng = np.random.default_rng([seed, day.toordinal()])
    rows = []
    for household in np.flatnonzero(rng.random(households) < 0.35):
        moment = dt.datetime.combine(day, dt.time(int(rng.integers(8, 21)), int(rng.integers(60))))
        for product in rng.choice(40, size=int(rng.integers(1, 5)), replace=False):
            line = {
                "household_id": int(household) + 1,
                "store_id": int(rng.integers(1, 4)),
                "basket_id": day.toordinal() * 1000 + int(household),
                "product_id": int(product) + 1,
                "quantity": int(rng.integers(1, 4)),
                "sales_value": round(float(rng.gamma(2.0, 2.0)), 2),
                "retail_disc": round(float(rng.random()), 2),
                "coupon_disc": 0.0,
                "coupon_match_disc": 0.0,
                "transaction_timestamp": moment,
            }
            rows.append(line)
    return pa.Table.from_pylist(rows, schema=TRANSACTION_SCHEMA)


def write_transactions(landing: Path, day: dt.date, rows: pa.Table) -> Path:
    path = landing / "transactions" / f"{day}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, path)
    return path


def write_csv(landing: Path, source: str, day: dt.date, lines: list[str]) -> Path:
    path = landing / source / f"{day}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def write_day(landing: Path, day: dt.date, seed: int = 0) -> None:
    write_transactions(landing, day, transactions(day, seed))
    coupon = [f"{day.day},900{day.day},1,{day}"] if day.day % 5 == 0 else []
    write_csv(landing, "coupon_redemptions", day, ["household_id,coupon_upc,campaign_id,redemption_date", *coupon])
    mailed = [f"{house},{day.month},Type A,{day},{day + dt.timedelta(days=30)}" for house in range(1, 16)]
    header = "household_id,campaign_id,campaign_type,start_date,end_date"
    write_csv(landing, "campaign_mailings", day, [header, *(mailed if day.day == 3 else [])])


def write_references(landing: Path, day: dt.date = FIRST) -> None:
    departments = ["GROCERY", "PRODUCE", "DRUG GM", "FUEL", "MEAT"]
    brands = ["National", "Private"]
    products = [f"{i + 1},{departments[i % 5]},{brands[i % 2]},THINGS" for i in range(40)]
    write_csv(landing, "products", day, ["product_id,department,brand,product_category", *products])
    header = "household_id,age,income,home_ownership,marital_status,household_size,household_comp,kids_count"
    people = [f"{house},45-54,50-74K,Homeowner,Married,2,2 Adults No Kids,0" for house in range(1, 11)]
    write_csv(landing, "demographics", day, [header, *people])


def write_world(landing: Path, days: DayRange, seed: int = 0) -> None:
    write_references(landing, days.first)
    for day in days:
        write_day(landing, day, seed)


def ingest(project: Project, lake: Lake, landing: Path, days: DayRange, reports: Path) -> None:
    """Load the landing files of some days into bronze and silver."""
    load_bronze(project, lake, Connections(str(landing)), days)
    build_silver(project, lake, days, reports)
