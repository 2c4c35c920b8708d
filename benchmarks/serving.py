"""The endpoint against the service of a usual guide, on the same model: ``make bench NAME=serving``.

The guide's service is ``benchmarks/naive_service.py``: FastAPI, the model loaded by MLflow, a pandas frame for every
request. Ours is the product as it is deployed. Both have one worker and are loaded in turn, for several rounds, so that
whatever else the machine does meets both. The load comes from ``include/serving/load_test``, on the same machine.
Figures are medians over the rounds, ratios medians of each round's ratio; both are shown with their least and largest
value. ``--quick`` takes a minute.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import httpx
import numpy as np
import typer

from benchmarks.figures import print_figures
from benchmarks.serving_batches import ROWS, batch_rows_per_second
from benchmarks.serving_contenders import Contender, guide, ours
from benchmarks.serving_model import DEPTH, FEATURES, TREES, Model, train_model
from include.serving.load_test.generator import Target, generate_load
from include.training.model.bundle import PREDICTION_TOLERANCE

CONNECTIONS = (1, 16, 64)
HEADLINE = ("rps_ratio_c16", "rps_c16", "rps_c64", "p99_ms_c64", "batch_rows_per_s")
_WARM_UP_SECONDS = 1.0


@dataclass(frozen=True)
class Figures:
    """What one service did in one round with so many connections.

    Attributes:
        rps: Good answers per second.
        p50_ms: The median latency.
        p99_ms: The latency of the slowest hundredth.
        cpu_us_per_request: Processor time of all of the server's processes per answer.
        failed: Requests that failed.
        generator_cpu: The load generator's processor time, as a share of one core.
    """

    rps: float
    p50_ms: float
    p99_ms: float
    cpu_us_per_request: float
    failed: float
    generator_cpu: float


Comparison = dict[tuple[str, int], list[Figures]]


def largest_difference(contender: Contender, model: Model) -> float:
    """Return the largest distance between an answer of the service and what the model says."""
    with httpx.Client(base_url=contender.url, trust_env=False, headers={"Content-Type": "application/json"}) as http:
        answers = [http.post("/predict", content=body).raise_for_status().json() for body in model.bodies()]
    answered = np.array([answer["churn_probability"] for answer in answers])
    return float(np.abs(answered - model.probabilities()).max())


def measure(contender: Contender, model: Model, connections: int, seconds: float) -> Figures:
    """Load the service and return its figures."""
    target = Target.parse(contender.url)
    requests = [target.post("/predict", body, "application/json") for body in model.bodies()]
    generate_load(target, requests, connections, _WARM_UP_SECONDS)
    cpu = contender.cpu_seconds()
    run = generate_load(target, requests, connections, seconds)
    cpu = contender.cpu_seconds() - cpu
    answers = max(len(run.latencies), 1)
    return Figures(
        run.per_second, run.percentile_ms(50), run.percentile_ms(99), cpu / answers * 1e6, run.failed, run.cpu_share
    )


def compare(model: Model, contenders: list[Contender], rounds: int, seconds: float) -> Comparison:
    """Load the services in turn; return what each did in every round, by its name and the connections."""
    seen: Comparison = defaultdict(list)
    for number in range(rounds):
        for connections in CONNECTIONS:
            for contender in contenders:
                figures = measure(contender, model, connections, seconds)
                seen[contender.name, connections].append(figures)
                _say(f"round {number + 1}, {connections:2} connections, {contender.name:5}: {_line(figures)}")
    return seen


def compare_batches(model: Model, contender: Contender, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Return our predictions per second in batches, by their form, for every round."""
    measured = [batch_rows_per_second(contender, model, seconds) for _ in range(rounds)]
    return {form: [found[form] for found in measured] for form in measured[0]}


def ratios(seen: Comparison, figure: str, connections: int) -> list[float]:
    """Return, for each round, how many times as good ours was: throughput, or processor time per request."""
    pairs = zip(seen["ours", connections], seen["guide", connections], strict=True)
    quotients = [getattr(mine, figure) / getattr(other, figure) for mine, other in pairs]
    return quotients if figure == "rps" else [1 / quotient for quotient in quotients]


def comparison(seen: Comparison) -> dict[str, Any]:
    """Return the medians over the rounds for each number of connections, and how far the ratio ranged."""
    found: dict[str, Any] = {}
    for connections in CONNECTIONS:
        rps = ratios(seen, "rps", connections)
        found[f"rps_ratio_c{connections}"] = round(statistics.median(rps), 1)
        found[f"rps_ratio_c{connections}_spread"] = [round(min(rps), 1), round(max(rps), 1)]
        cpu = ratios(seen, "cpu_us_per_request", connections)
        found[f"cpu_ratio_c{connections}"] = round(statistics.median(cpu), 1)
        for figure in ("rps", "p50_ms", "p99_ms"):
            found[f"{figure}_c{connections}"] = round(_median(seen["ours", connections], figure), 1)
    return found


def summary(rounds: list[Figures]) -> dict[str, Any]:
    """Return the median of every figure over the rounds, and the least and largest throughput."""
    medians = {figure.name: round(_median(rounds, figure.name), 2) for figure in fields(Figures)}
    rates = [round(one.rps) for one in rounds]
    return medians | {"rps_spread": [min(rates), max(rates)]}


def _median(rounds: list[Figures], figure: str) -> float:
    return float(statistics.median(getattr(one, figure) for one in rounds))


def _line(figures: Figures) -> str:
    return (
        f"{figures.rps:7,.0f} requests/s, p50 {figures.p50_ms:7.2f} ms, p99 {figures.p99_ms:7.2f} ms, "
        f"{figures.cpu_us_per_request:6,.0f} us CPU per request, {figures.failed:.0f} failed, "
        f"generator at {figures.generator_cpu:.0%} of a core"
    )


def _table(seen: Comparison) -> str:
    lines = [f"{'':14}{'requests/s':>12}{'least..most':>16}{'p50 ms':>10}{'p99 ms':>10}{'CPU us':>9}{'failed':>8}"]
    for (name, connections), rounds in seen.items():
        figures = summary(rounds)
        spread = "..".join(f"{rate:,}" for rate in figures["rps_spread"])
        lines.append(
            f"{name:6} c={connections:<6}{figures['rps']:12,.0f}{spread:>16}{figures['p50_ms']:10.2f}"
            f"{figures['p99_ms']:10.2f}{figures['cpu_us_per_request']:9,.0f}{figures['failed']:8.0f}"
        )
    return "\n".join(lines)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(
    rounds: Annotated[int, typer.Option(help="How often both services are loaded.")] = 5,
    seconds: Annotated[float, typer.Option(help="How long each load lasts.")] = 5.0,
    quick: Annotated[bool, typer.Option("--quick", help="Two rounds of two seconds.")] = False,
) -> None:
    """Print a table, all figures, and on the last line those that the project has goals for."""
    rounds, seconds = (2, 2.0) if quick else (rounds, seconds)
    with tempfile.TemporaryDirectory(prefix="churn-serving-") as name, ExitStack() as running:
        _say(f"training a model with {FEATURES} features and {TREES} trees ...")
        model = train_model(Path(name))
        contenders = [running.enter_context(start(model, Path(name))) for start in (guide, ours)]
        differences = {one.name: largest_difference(one, model) for one in contenders}
        if max(differences.values()) > PREDICTION_TOLERANCE:
            raise SystemExit(f"The services do not answer what the model says: {differences}")
        seen = compare(model, contenders, rounds, seconds)
        batches = compare_batches(model, contenders[-1], rounds, seconds)
    print(_table(seen))
    for form, rates in batches.items():
        spread = f"{min(rates):,.0f}..{max(rates):,.0f}"
        print(f"ours, batches of {ROWS:,} in {form}: {statistics.median(rates):,.0f} predictions/s ({spread})")
    setting: dict[str, Any] = {
        "cores": os.cpu_count(),
        "model": {"features": FEATURES, "trees": TREES, "max_depth": DEPTH},
    }
    setting |= {"workers": 1, "rounds": rounds, "seconds": seconds, "largest_difference": differences}
    both = {f"{name}_c{connections}": summary(rounds) for (name, connections), rounds in seen.items()}
    by_form = {f"batch_rows_per_s_{form}": round(statistics.median(rates)) for form, rates in batches.items()}
    figures = comparison(seen) | {"batch_rows_per_s": max(by_form.values())}
    print_figures("serving", {name: figures[name] for name in HEADLINE}, {**figures, **by_form, **setting, **both})


if __name__ == "__main__":
    typer.run(main)
