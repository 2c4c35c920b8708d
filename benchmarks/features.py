"""Feature computation against pandas and hand-written SQL, and one day against a year: ``python -m
benchmarks.features``.

The benchmark draws a lake of 100,000 customers, 10 million transactions and 10 million sessions over 365 days. Three
contenders compute the same 90 features of one snapshot day from the same files, in turns, each in a process of its own:
the product, one hand-written DuckDB query, and pandas. All values must agree. Afterwards the ingest of one more day,
from landing to gold, is compared with the ingest of the whole year (some minutes; ``--ingest-share 0.1`` reduces the
year).
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from benchmarks.features_world import DAY, YEAR, write_lake, write_landing
from benchmarks.figures import in_own_process, peak_gb, report
from include.days import DayRange
from include.features.compile import compute_features
from include.ingest import ingest_days
from include.lake import Lake
from include.lake.table_names import silver_table
from include.projects import Project, load_project
from include.settings import Settings

WINDOWS = (7, 30, 90, 180, 365)
# By source: the columns with a time, a number and a text, and a condition.
SOURCES = {
    "transactions": ("paid_at", "amount", "method", "status = 'failed'"),
    "sessions": ("started_at", "duration_s", "device", "section = 'account'"),
}
FUNCTIONS = ("count", "active_days", "days_since_last", "sum", "mean", "max", "std")


def project() -> Project:
    """Return the subscription project with features that are easy to express in SQL and pandas."""
    families: list[tuple[str, str, dict[str, str]]] = []
    for source, (_, number, text, where) in SOURCES.items():
        for function in FUNCTIONS:
            column = {"column": number} if function in ("sum", "mean", "max", "std") else {}
            families.append((source, function, {"function": function, **column}))
        families.append((source, "distinct", {"function": "count_distinct", "column": text}))
        families.append((source, "where", {"function": "count", "where": where}))
    content = load_project("subscription").model_dump(exclude={"feature_families", "derived_columns"})
    content["feature_families"] = [
        {
            "name": f"{source}_{name}_{{window}}d",
            "description": name,
            "type": "aggregation",
            "calculation": {**calculation, "source": source},
            "windows": list(WINDOWS),
        }
        for source, name, calculation in families
    ]
    content["training"]["segments"] = ()
    return Project.model_validate(content)


def _files_of(lake: str, source: str) -> list[str]:
    # Return the files of a source, which all contenders read.
    return sorted(Lake(lake).table(silver_table(source)).files(YEAR))


def by_product(lake: str) -> pa.Table:
    """Compute the features with the product."""
    return compute_features(project(), Lake(lake), [DAY])


def by_sql(lake: str) -> pa.Table:
    """Compute the features with one query: every aggregate of every window is computed from the rows."""
    parts = []
    for source, (time_, number, text, where) in SOURCES.items():
        terms = []
        for window in WINDOWS:
            within = f"age < {window}"
            terms += [
                f"count(*) FILTER ({within})::DOUBLE AS {source}_count_{window}d",
                f"count(DISTINCT day) FILTER ({within})::DOUBLE AS {source}_active_days_{window}d",
                f"min(age) FILTER ({within})::DOUBLE AS {source}_days_since_last_{window}d",
                f"coalesce(sum({number}) FILTER ({within}), 0)::DOUBLE AS {source}_sum_{window}d",
                f"(sum({number}) FILTER ({within}))::DOUBLE / nullif(count({number}) FILTER ({within}), 0)"
                f" AS {source}_mean_{window}d",
                f"max({number}) FILTER ({within})::DOUBLE AS {source}_max_{window}d",
                f"stddev_samp({number}::DOUBLE) FILTER ({within}) AS {source}_std_{window}d",
                f"count(DISTINCT {text}) FILTER ({within})::DOUBLE AS {source}_distinct_{window}d",
                f"count(*) FILTER ({within} AND {where})::DOUBLE AS {source}_where_{window}d",
            ]
        parts.append(
            f"""(SELECT customer_id, {", ".join(terms)} FROM (
                SELECT *, CAST({time_} AS DATE) AS day, DATE '{DAY}' - CAST({time_} AS DATE) AS age
                FROM read_parquet({_files_of(lake, source)})
                WHERE CAST({time_} AS DATE) BETWEEN DATE '{DAY}' - {max(WINDOWS) - 1} AND DATE '{DAY}'
            ) GROUP BY customer_id)"""  # noqa: S608 - constants
        )
    people = f"read_parquet({_files_of(lake, 'customers')})"
    query = f"""SELECT * FROM (SELECT DISTINCT customer_id FROM {people} WHERE status = 'active')
        LEFT JOIN {parts[0]} USING (customer_id) LEFT JOIN {parts[1]} USING (customer_id) ORDER BY customer_id"""  # noqa: S608
    engine = duckdb.connect()
    engine.execute("SET TimeZone = 'UTC'; SET preserve_insertion_order = false; SET enable_progress_bar = false")
    return engine.sql(query).to_arrow_table()


def by_pandas(lake: str) -> pa.Table:
    """Compute the features with pandas: one group-by per source and window, text columns as categories."""
    people = pd.read_parquet(_files_of(lake, "customers"), columns=["customer_id"], partitioning=None)  # type: ignore[arg-type]
    result = people.drop_duplicates().set_index("customer_id").sort_index()
    for source, (time_, number, text, where) in SOURCES.items():
        flag, value = where.replace("'", "").split(" = ")
        columns = ["customer_id", time_, number, text, flag]
        events = pd.read_parquet(_files_of(lake, source), columns=columns, partitioning=None)  # type: ignore[arg-type]
        events = events.astype(dict.fromkeys(("customer_id", text, flag), "category"))
        events[number] = events[number].astype("float64")
        events["day"] = events.pop(time_).dt.normalize()
        events["age"] = (pd.Timestamp(DAY) - events["day"]).dt.days
        events["flag"] = events.pop(flag) == value
        for window in WINDOWS:
            groups = events[events["age"] < window].groupby("customer_id", observed=True)
            found = groups[number].agg(["sum", "mean", "max", "std"])
            found["count"] = groups.size()
            found["active_days"] = groups["day"].nunique()
            found["days_since_last"] = groups["age"].min()
            found["distinct"] = groups[text].nunique()
            found["where"] = groups["flag"].sum()
            result = result.join(found.add_prefix(f"{source}_").add_suffix(f"_{window}d").astype("float64"))
    return pa.Table.from_pandas(result.reset_index(), preserve_index=False)


CONTENDERS: dict[str, Callable[[str], pa.Table]] = {"product": by_product, "sql": by_sql, "pandas": by_pandas}


def _compute(contender: str, lake: str, out: Path) -> dict[str, float]:
    # Let a contender compute the features, and return its seconds, CPU seconds and peak memory in GiB.
    start, cpu = time.perf_counter(), time.process_time()
    rows = CONTENDERS[contender](lake)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    pq.write_table(rows, out)
    return {"seconds": seconds, "cpu_seconds": cpu, "peak_gb": peak_gb()}


def _ingest_seconds(root: Path, days: DayRange) -> float:
    # Ingest days of the subscription project from landing to gold, and return the seconds.
    settings = Settings(
        project="subscription",
        landing_uri=str(root / "landing"),
        lake_uri=str(root / "lake"),
        reports_dir=root / "reports",
    )
    start = time.perf_counter()
    ingest_days(settings, days)
    return time.perf_counter() - start


def _require_agreement(one: pa.Table, other: pa.Table) -> None:
    # Raise an AssertionError unless two tables hold the same features of the same customers.
    left, right = (table.to_pandas().set_index("customer_id").sort_index() for table in (one, other))
    names = [spec.name for spec in project().features]
    zero_without_events = [spec.name for spec in project().features if not spec.nullable]
    for frame in (left, right):
        frame[zero_without_events] = frame[zero_without_events].fillna(0.0)
    pd.testing.assert_frame_equal(left[names], right[names], check_dtype=False, rtol=1e-9, atol=1e-6)


def _compare_contenders(root: Path, customers: int, events: int, rounds: int) -> dict[str, Any]:
    # Return the figures of all contenders on one snapshot day.
    lake = str(root / "lake")
    in_own_process(write_lake, lake, customers, events)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    for _ in range(rounds):
        for name in CONTENDERS:
            runs[name].append(in_own_process(_compute, name, lake, root / f"{name}.parquet"))
            report(name, runs[name][-1])
    product = pq.read_table(root / "product.parquet")
    for name in CONTENDERS:
        _require_agreement(product, pq.read_table(root / f"{name}.parquet"))

    def median(name: str, figure: str) -> float:
        return round(statistics.median(run[figure] for run in runs[name]), 2)

    def peak(name: str) -> float:
        return round(max(run["peak_gb"] for run in runs[name]), 2)

    seconds = {name: median(name, "seconds") for name in CONTENDERS}
    return {
        "speedup_vs_pandas": round(seconds["pandas"] / seconds["product"], 2),
        "ratio_to_handwritten_sql": round(seconds["product"] / seconds["sql"], 2),
        "peak_gb": peak("product"),
        "rows": 2 * events,
        "customers": customers,
        "features": len(project().features),
        **{f"{name}_seconds": value for name, value in seconds.items()},
        **{f"{name}_cpu_seconds": median(name, "cpu_seconds") for name in CONTENDERS},
        **{f"{name}_peak_gb": peak(name) for name in CONTENDERS if name != "product"},
    }


def _compare_days(root: Path, customers: int, events: int) -> dict[str, Any]:
    # Return the seconds to ingest a year, and one more day, from landing to gold.
    days = DayRange(YEAR.first, DAY + timedelta(days=1))
    in_own_process(write_landing, root / "landing" / "subscription", customers, events, days)
    year = in_own_process(_ingest_seconds, root, YEAR)
    day = in_own_process(_ingest_seconds, root, DayRange.single(days.last))
    return {
        "incremental_share": round(day / year, 4),
        "ingest_rows": 2 * events,
        "year_seconds": round(year, 1),
        "day_seconds": round(day, 1),
    }


def main(
    customers: Annotated[int, typer.Option(help="Number of customers.")] = 100_000,
    events: Annotated[int, typer.Option(help="Number of events of each of the two sources.")] = 10_000_000,
    rounds: Annotated[int, typer.Option(help="Number of times that each contender computes.")] = 3,
    ingest_share: Annotated[float, typer.Option(help="Size of the ingested year as a share of the above.")] = 1.0,
) -> None:
    """Print all figures as one JSON object on the last line."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        figures = _compare_contenders(root, customers, events, rounds)
        figures |= _compare_days(root / "ingest", round(customers * ingest_share), round(events * ingest_share))
    print(json.dumps({"benchmark": "features", **figures}))


if __name__ == "__main__":
    typer.run(main)
