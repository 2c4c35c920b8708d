"""Features against pandas and hand-written SQL, and a day against a year: ``python -m benchmarks.features``.

A lake of 100,000 customers, 10 million transactions and 10 million sessions over 365 days is drawn into silver, then 90
features of one snapshot day are computed by three contenders, each in processes of its own, in turns: the product, a
query as one would write it for DuckDB, and pandas. All read the same files and must agree on every value. The same
figures are then asked of the ingest: one more day, from landing to gold, against the whole year (some minutes;
``--ingest-share 0.1`` makes that year smaller).
"""

from __future__ import annotations

import datetime as dt
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import typer

from include.days import DayRange
from include.features.compile import compute_features
from include.lake import Lake
from include.lake.table_names import silver_table
from include.projects import Project, load_project

SEED = 20230101
DAY = dt.date(2024, 1, 1)
YEAR = DayRange.ending(DAY, 365)
WINDOWS = (7, 30, 90, 180, 365)
# source: its time, number, text, and a condition
SOURCES = {
    "transactions": ("paid_at", "amount", "method", "status = 'failed'"),
    "sessions": ("started_at", "duration_s", "device", "section = 'account'"),
}
FUNCTIONS = ("count", "active_days", "days_since_last", "sum", "mean", "max", "std")
CONTENDERS = ("product", "sql", "pandas")


def project() -> Project:
    """Return the subscription project with features whose every calculation is easy to write in SQL and pandas."""
    families = []
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


def draw(source: str, days: DayRange, rows: int, customers: int) -> pa.Table:
    """Return ``rows`` events of ``source`` spread over ``days``, sorted by day, with ``dt``."""
    seed = SEED + len(source)
    first = np.datetime64(days.first, "us")
    engine = duckdb.connect()
    engine.execute(f"SELECT setseed({seed % 1000 / 1000})")
    number = "CAST(round(random() * 60, 2) AS DECIMAL(18, 4)) AS amount" if source == "transactions" else ""
    columns = {
        "transactions": f"""'t' || i AS transaction_id, {number},
            CASE WHEN random() < 0.05 THEN 'refund' WHEN random() < 0.3 THEN 'addon' ELSE 'subscription' END AS kind,
            CASE WHEN random() < 0.07 THEN 'failed' ELSE 'paid' END AS status,
            ['card', 'paypal', 'bank_transfer', 'direct_debit'][1 + CAST(floor(random() * 4) AS INT)] AS method,
            moment AS paid_at""",
        "sessions": """'s' || i AS session_id, CAST(floor(exp(4 + 3 * random())) AS BIGINT) AS duration_s,
            ['phone', 'desktop', 'tablet', 'tv'][1 + CAST(floor(random() * 4) AS INT)] AS device,
            ['home', 'catalogue', 'live', 'library', 'account'][1 + CAST(floor(random() * 5) AS INT)] AS section,
            1 + CAST(floor(random() * 20) AS BIGINT) AS pages, moment AS started_at""",
    }[source]
    return engine.execute(
        f"""WITH drawn AS (
            SELECT i, 'c' || CAST(floor(power(random(), 1.5) * {customers}) AS INT) AS customer_id,
                CAST('{first}' AS TIMESTAMP) + to_seconds(random() * {len(days) * 86_400 - 1}) AS moment
            FROM range({rows}) t(i)
        ) SELECT customer_id, {columns}, CAST(moment AS DATE) AS dt FROM drawn ORDER BY dt"""  # noqa: S608 - numbers of ours
    ).to_arrow_table()


def draw_customers(day: dt.date, customers: int) -> pa.Table:
    """Return the first delivery of the customers table, with ``dt``."""
    rng = np.random.default_rng(SEED)
    ids = [f"c{number}" for number in range(customers)]

    def pick(*texts: str) -> np.ndarray:
        return rng.choice(texts, customers)

    signup = np.datetime64(day, "D") - rng.integers(0, 900, customers)
    return pa.table(
        {
            "customer_id": ids,
            "signup_date": pa.array(signup, pa.date32()),
            "status": ["active"] * customers,
            "age": rng.integers(18, 80, customers),
            "plan": pick("basic", "standard", "premium"),
            "country": pick("AT", "DE", "FR", "IT", "NL", "PL"),
            "payment_method": pick("card", "paypal", "bank_transfer", "direct_debit"),
            "channel": pick("search", "social", "referral", "partner"),
            "updated_at": pa.array([dt.datetime.combine(day, dt.time(1))] * customers, pa.timestamp("us")),
            "dt": pa.array([day] * customers, pa.date32()),
        }
    )


def files_of(lake: str, source: str) -> list[str]:
    """Return the files of one source's year, which every contender reads."""
    return sorted(Lake(lake).table(silver_table(source)).files(YEAR))


def by_product(lake: str) -> pa.Table:
    """Compute the features as the product does."""
    return compute_features(project(), Lake(lake), [DAY])


def by_sql(lake: str) -> pa.Table:
    """Compute the features by one query for each source: every aggregate once for each window."""
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
        files = ", ".join(f"'{file}'" for file in files_of(lake, source))
        parts.append(
            f"""(SELECT customer_id, {", ".join(terms)} FROM (
                SELECT *, CAST({time_} AS DATE) AS day, DATE '{DAY}' - CAST({time_} AS DATE) AS age
                FROM read_parquet([{files}])
                WHERE CAST({time_} AS DATE) BETWEEN DATE '{DAY}' - {max(WINDOWS) - 1} AND DATE '{DAY}'
            ) GROUP BY customer_id)"""  # noqa: S608 - names of ours
        )
    people = ", ".join(f"'{file}'" for file in sorted(Lake(lake).table("silver/customers").files(YEAR)))
    query = f"""SELECT * FROM (SELECT DISTINCT customer_id FROM read_parquet([{people}]) WHERE status = 'active')
        LEFT JOIN {parts[0]} USING (customer_id) LEFT JOIN {parts[1]} USING (customer_id) ORDER BY customer_id"""  # noqa: S608
    engine = duckdb.connect()
    engine.execute("SET preserve_insertion_order = false")
    return engine.execute(query).to_arrow_table()


def by_pandas(lake: str) -> pa.Table:
    """Compute the features by pandas: one group-by for each source and window, texts as categories."""
    people = pd.read_parquet(files_of(lake, "customers"), columns=["customer_id"], partitioning=None)  # type: ignore[arg-type]
    result = people.drop_duplicates().set_index("customer_id").sort_index()
    for source, (time_, number, text, where) in SOURCES.items():
        flag, value = where.replace("'", "").split(" = ")
        columns = ["customer_id", time_, number, text, flag]
        events = pd.read_parquet(files_of(lake, source), columns=columns, partitioning=None)  # type: ignore[arg-type]
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


def write_lake(lake: Lake, customers: int, events: int) -> None:
    """Draw silver."""
    for source in SOURCES:
        lake.table(silver_table(source)).replace(YEAR, draw(source, YEAR, events, customers))
    lake.table("silver/customers").replace([YEAR.first], draw_customers(YEAR.first, customers))


def write_landing(folder: Path, customers: int, events: int, days: DayRange) -> None:
    """Draw the files that the subscription project's sources deliver for ``days``."""
    for source in SOURCES:
        rows = draw(source, days, events, customers)
        for day in days:
            part = rows.filter(pc.equal(rows["dt"], pa.scalar(day))).drop_columns("dt")
            _write(folder / source / f"{day}.parquet", lambda path, part=part: pq.write_table(part, path))
    for day in days:
        people = draw_customers(day, customers if day == days.first else 1).drop_columns("dt").to_pandas()
        _write(folder / "customers" / f"{day}.csv", lambda path, people=people: people.to_csv(path, index=False))
        ticket = {"ticket_id": f"k{day}", "customer_id": "c1", "topic": "billing", "priority": "low", "satisfaction": 3}
        line = json.dumps({**ticket, "opened_at": f"{day} 12:00:00"}) + "\n"
        _write(folder / "support_tickets" / f"{day}.jsonl", lambda path, line=line: path.write_text(line))


def agree(one: pa.Table, other: pa.Table) -> None:
    """Raise unless both tables hold the same features of the same customers."""
    left, right = (table.to_pandas().set_index("customer_id").sort_index() for table in (one, other))
    names = [spec.name for spec in project().features]
    nothing = [spec.name for spec in project().features if not spec.nullable]
    for frame in (left, right):
        frame[nothing] = frame[nothing].fillna(0.0)
    pd.testing.assert_frame_equal(left[names], right[names], check_dtype=False, rtol=1e-9, atol=1e-6)


app = typer.Typer(add_completion=False)


@app.command()
def prepare(root: Path, customers: int, events: int) -> None:
    """Draw the lake, in a process of its own: a child's peak of memory begins with its parent's."""
    write_lake(Lake(str(root / "lake")), customers, events)
    print(json.dumps({}))


@app.command()
def prepare_landing(root: Path, customers: int, events: int, first: str, last: str) -> None:
    """Draw the files of the subscription project's sources."""
    write_landing(root / "landing" / "subscription", customers, events, DayRange.parse(first, last))
    print(json.dumps({}))


@app.command()
def contend(contender: str, lake: str, out: Path) -> None:
    """Let one contender compute, and print its seconds, those of its processors, and its peak of memory in GiB."""
    start = time.perf_counter()
    rows = {"product": by_product, "sql": by_sql, "pandas": by_pandas}[contender](lake)
    seconds, cpu = time.perf_counter() - start, time.process_time()
    pq.write_table(rows, out)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "peak_gb": peak}))


@app.command()
def ingest(root: Path, first: str, last: str) -> None:
    """Take the subscription project's days from landing to gold, and print the seconds of each step."""
    from include.ingest import ingest_days
    from include.settings import Settings

    settings = Settings(
        project="subscription",
        landing_uri=str(root / "landing"),
        lake_uri=str(root / "lake"),
        reports_dir=root / "reports",
    )
    start = time.perf_counter()
    results = ingest_days(settings, DayRange.parse(first, last))
    steps = {result.table: result.seconds for result in results}
    print(json.dumps({"seconds": time.perf_counter() - start, "steps": steps}))


@app.command()
def run(
    customers: Annotated[int, typer.Option(help="Customers.")] = 100_000,
    events: Annotated[int, typer.Option(help="Events of each of the two sources.")] = 10_000_000,
    rounds: Annotated[int, typer.Option(help="How often each contender computes.")] = 3,
    ingest_share: Annotated[float, typer.Option(help="Size of the ingested year, as a share of the other.")] = 1.0,
) -> None:
    """Print all figures; the last line is one JSON object."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        figures = compare(root, customers, events, rounds)
        figures |= compare_days(root / "ingest", round(customers * ingest_share), round(events * ingest_share))
    print(json.dumps({"benchmark": "features", **figures}))


def compare(root: Path, customers: int, events: int, rounds: int) -> dict[str, Any]:
    """Return the contenders' figures on one snapshot day."""
    lake = str(root / "lake")
    start = time.perf_counter()
    _own_process("prepare", str(root), str(customers), str(events))
    _tell(f"lake drawn in {time.perf_counter() - start:.0f} s")
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    for _ in range(rounds):
        for name in CONTENDERS:
            found[name].append(_own_process("contend", name, lake, str(root / f"{name}.parquet")))
            _tell(f"{name}: {found[name][-1]}")
    for other in CONTENDERS[1:]:
        agree(pq.read_table(root / "product.parquet"), pq.read_table(root / f"{other}.parquet"))
    seconds = {name: _median(runs, "seconds") for name, runs in found.items()}
    return {
        "speedup_vs_pandas": round(seconds["pandas"] / seconds["product"], 2),
        "ratio_to_handwritten_sql": round(seconds["product"] / seconds["sql"], 2),
        "peak_gb": round(max(item["peak_gb"] for item in found["product"]), 2),
        "rows": 2 * events,
        "customers": customers,
        "features": len(project().features),
        **{f"{name}_seconds": value for name, value in seconds.items()},
        **{f"{name}_cpu_seconds": _median(found[name], "cpu_seconds") for name in CONTENDERS},
        **{f"{name}_peak_gb": round(max(item["peak_gb"] for item in found[name]), 2) for name in CONTENDERS[1:]},
    }


def compare_days(root: Path, customers: int, events: int) -> dict[str, Any]:
    """Return the seconds of a year and of one more day, from landing to gold, of the subscription project."""
    days = DayRange(YEAR.first, DAY + dt.timedelta(days=1))
    _own_process("prepare-landing", str(root), str(customers), str(events), str(days.first), str(days.last))
    year = _own_process("ingest", str(root), str(YEAR.first), str(YEAR.last))
    _tell(f"year: {year}")
    day = _own_process("ingest", str(root), str(days.last), str(days.last))
    _tell(f"day: {day}")
    return {
        "incremental_share": round(day["seconds"] / year["seconds"], 4),
        "ingest_rows": 2 * events,
        "year_seconds": round(year["seconds"], 1),
        "day_seconds": round(day["seconds"], 1),
    }


def _median(runs: list[dict[str, float]], figure: str) -> float:
    return round(statistics.median(run[figure] for run in runs), 2)


def _own_process(*arguments: str) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.features", *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _write(path: Path, write: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path)  # type: ignore[operator]


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        app()
    else:
        typer.run(run)
