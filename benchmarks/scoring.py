"""Scoring a day of a million customers, and keeping their features for the endpoint: ``make bench NAME=scoring``.

A gold day and a model of that size are made first. Scoring and the online store then run as their DAG's tasks do, each
in a process of its own, whose peak memory is read when it ends.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.figures import peak_gb, print_figures
from benchmarks.scoring_world import DAY, customer_ids, make_world
from include.retention.retention_list import score_day
from include.serving.online_store import open_store
from include.serving.online_store.update import update_store
from include.settings import ServingSettings, Settings, StoreSettings

LOOKUPS = 5_000


def settings_of(home: Path, redis_url: str = "") -> Settings:
    """Return the settings of the world in ``home``, with its embedded store or the Redis server of ``redis_url``."""
    store = StoreSettings(backend="redis", url=redis_url) if redis_url else StoreSettings()
    return Settings(home=home, project="benchmark", serving=ServingSettings(store=store))


def score(settings: Settings) -> dict[str, float]:
    """Score the day, and return the rows and seconds of it."""
    result = score_day(DAY, settings)
    return {"rows": result.rows_written, "seconds": result.seconds}


def update(settings: Settings) -> dict[str, float]:
    """Keep the day in the online store twice, and return the rows and seconds of the first time and of the second."""
    first, again = update_store(DAY, settings), update_store(DAY, settings)
    return {"rows": first.newest, "seconds": first.seconds, "again_seconds": again.seconds}


def look_up(settings: Settings, customers: int) -> dict[str, float]:
    """Read some of the customers by their ids, one after the other, and return the time of one in microseconds."""

    store = open_store(settings)
    if store is None:
        raise ValueError("The settings want no store.")

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


def alone(step: Callable[[Settings], dict[str, float]], settings: Settings) -> dict[str, float]:
    """Return what ``step`` returns in a new process, and that process's peak memory in GB."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_with_peak, step, settings).result()


def _with_peak(step: Callable[[Settings], dict[str, float]], settings: Settings) -> dict[str, float]:
    figures = step(settings)
    return figures | {"peak_gb": round(peak_gb(), 2)}


def figures_of(home: Path, redis_url: str) -> dict[str, Any]:
    """Return the figures of the world in ``home``."""
    settings = settings_of(home, redis_url)
    scored = alone(score, settings)
    _say(f"scored {scored['rows']:,} customers in {scored['seconds']:.1f} s, peak {scored['peak_gb']} GB")
    stored = alone(update, settings)
    _say(f"stored in {stored['seconds']:.1f} s, again in {stored['again_seconds']:.1f} s, peak {stored['peak_gb']} GB")
    found = alone(partial(look_up, customers=int(scored["rows"])), settings)
    _say(f"looked up in {found['median_us']:.0f} us")
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


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(
    customers: Annotated[int, typer.Option(help="Customers of the day.")] = 1_000_000,
    features: Annotated[int, typer.Option(help="Features of each; at least ten.")] = 100,
    trees: Annotated[int, typer.Option(help="Trees of the model.")] = 300,
    depth: Annotated[int, typer.Option(help="Their depth.")] = 6,
    redis_url: Annotated[str, typer.Option(help="Keep the features in this Redis server, not in files.")] = "",
) -> None:
    """Make a day and a model in a folder that is removed; the last line has the figures as one JSON object."""
    with tempfile.TemporaryDirectory(prefix="churnflow-scoring-") as folder:
        make_world(settings_of(Path(folder)), customers, features, trees, depth)
        _say(f"made a day of {customers:,} customers with {features} features, and {trees} trees of depth {depth}")
        figures = figures_of(Path(folder), redis_url)
    details = {"features": features, "trees": trees, "depth": depth, **figures}
    print_figures("scoring", {name: figures[name] for name in ("rows_per_s", "peak_gb")}, details)


if __name__ == "__main__":
    typer.run(main)
