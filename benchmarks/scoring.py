"""Score a day of a million customers and write the online store: ``make bench NAME=scoring``.

The benchmark creates a gold day, the status of its customers, of whom a tenth have churned, and a model. Scoring and
the update of the online store then run as in their DAG, each in its own process. The peak memory of each process is
read at its end.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.figures import in_own_process, peak_gb, print_figures, report
from benchmarks.scoring_world import DAY, customer_ids, make_world
from include.retention.retention_list import score_day
from include.serving.online_store import open_store
from include.serving.online_store.update import update_store
from include.settings import ServingSettings, Settings, StoreSettings

LOOKUPS = 5_000


def settings_of(home: Path, redis_url: str = "") -> Settings:
    """Return the settings of the benchmark's installation.

    Args:
        home: The folder of the lake and of the embedded online store.
        redis_url: The Redis server of the online store; empty for the embedded store.
    """
    store = StoreSettings(backend="redis", url=redis_url) if redis_url else StoreSettings()
    return Settings(home=home, project="subscription", serving=ServingSettings(store=store))


def score(settings: Settings) -> dict[str, float]:
    """Score the day, and return the number of customers on the list and the seconds."""
    result = score_day(DAY, settings)
    return {"rows": result.rows_written, "seconds": result.seconds}


def update(settings: Settings) -> dict[str, float]:
    """Write the day into the online store twice, and return the number of rows and the seconds of both writes."""
    first, again = update_store(DAY, settings), update_store(DAY, settings)
    return {"rows": first.newest, "seconds": first.seconds, "again_seconds": again.seconds}


def look_up(settings: Settings, customers: int) -> dict[str, float]:
    """Read customers by their ids, one after the other, and return the time of a lookup in microseconds.

    Args:
        settings: The settings of the online store.
        customers: The number of customers of the day.
    """
    store = open_store(settings)
    if store is None:
        raise ValueError("The settings configure no store.")

    async def seconds() -> list[float]:
        taken = []
        for customer in customer_ids(customers)[:LOOKUPS]:
            start = time.perf_counter()
            found = await store.get(customer)
            taken.append(time.perf_counter() - start)
            if found is None:
                raise ValueError("A customer of the day is not in the store.")
        await store.close()
        return taken

    taken = sorted(asyncio.run(seconds()))
    return {"median_us": statistics.median(taken) * 1e6, "p99_us": taken[int(0.99 * len(taken))] * 1e6}


def _with_peak(step: Callable[[Settings], dict[str, float]], settings: Settings) -> dict[str, float]:
    figures = step(settings)
    return figures | {"peak_gb": round(peak_gb(), 2)}


def figures_of(home: Path, redis_url: str) -> dict[str, Any]:
    """Run all steps and return their figures.

    Args:
        home: The folder that ``make_world`` has filled.
        redis_url: The Redis server of the online store; empty for the embedded store.
    """
    settings = settings_of(home, redis_url)
    scored = in_own_process(_with_peak, score, settings)
    report(f"scored {scored['rows']:,} customers in {scored['seconds']:.1f} s, peak {scored['peak_gb']} GB")
    stored = in_own_process(_with_peak, update, settings)
    report(
        f"stored in {stored['seconds']:.1f} s, again in {stored['again_seconds']:.1f} s, peak {stored['peak_gb']} GB"
    )
    found = in_own_process(_with_peak, partial(look_up, customers=int(scored["rows"])), settings)
    report(f"looked up in {found['median_us']:.0f} us")
    return {
        "rows": int(scored["rows"]),
        "seconds": round(scored["seconds"], 1),
        "rows_per_s": round(scored["rows"] / scored["seconds"]),
        "peak_gb": scored["peak_gb"],
        "store": settings.serving.store.backend,
        "store_seconds": round(stored["seconds"], 1),
        "store_again_seconds": round(stored["again_seconds"], 1),
        "store_rows_per_s": round(stored["rows"] / stored["seconds"]),
        "store_peak_gb": stored["peak_gb"],
        "lookup_us": round(found["median_us"], 1),
        "lookup_p99_us": round(found["p99_us"], 1),
    }


def main(
    customers: Annotated[int, typer.Option(help="Customers of the day.")] = 1_000_000,
    features: Annotated[int, typer.Option(help="Features of each customer; at least ten.")] = 100,
    trees: Annotated[int, typer.Option(help="Trees of the model.")] = 300,
    depth: Annotated[int, typer.Option(help="Depth of the trees.")] = 6,
    redis_url: Annotated[str, typer.Option(help="Write the features to this Redis server instead of files.")] = "",
) -> None:
    """Run the benchmark in a temporary folder; the last line contains the figures as a JSON object."""
    with tempfile.TemporaryDirectory(prefix="churnflow-scoring-") as folder:
        make_world(settings_of(Path(folder)), customers, features, trees, depth)
        report(f"made a day of {customers:,} customers with {features} features, and {trees} trees of depth {depth}")
        figures = figures_of(Path(folder), redis_url)
    details = {"features": features, "trees": trees, "depth": depth, **figures}
    print_figures("scoring", {name: figures[name] for name in ("rows_per_s", "peak_gb")}, details)


if __name__ == "__main__":
    typer.run(main)
