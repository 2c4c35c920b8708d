"""The endpoint against a naive baseline, on the same model: ``make bench NAME=serving``.

The baseline is ``benchmarks/naive_service.py``: FastAPI, the model loaded by MLflow, a pandas frame for each request.
The endpoint runs as it is deployed. Both have one worker and are loaded in turn, for several rounds, so that other work
of the machine affects both. ``include/serving/load_test`` generates the load, on the same machine. A figure is the
median over the rounds, and a ratio is the median of the rounds' ratios. Throughputs and their ratios are printed with
the smallest and the largest value.
``--quick`` takes about a minute.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import httpx
import numpy as np
import pyarrow as pa
import typer

from benchmarks.figures import print_figures, report
from benchmarks.serving_contenders import Contender, endpoint, naive
from benchmarks.serving_model import DEPTH, FEATURES, NAMES, TREES, Model, train_model
from include.serving.load_test.generator import Target, generate_load
from include.training.model.bundle import PREDICTION_TOLERANCE

CONNECTIONS = (1, 16, 64)
HEADLINE = ("rps_ratio_c16", "rps_c16", "rps_c64", "p99_ms_c64", "batch_rows_per_s")
BATCH_ROWS = 1_000
_WARM_UP_SECONDS = 1.0
# One batch is sent while the other is scored.
_BATCH_CONNECTIONS = 2
_BATCH_PATH = "/predict_batch"
_ARROW = "application/vnd.apache.arrow.stream"
_JSON = "application/json"


@dataclass(frozen=True)
class Figures:
    """The results of one service in one round.

    Attributes:
        rps: Successful responses per second.
        p50_ms: The median latency.
        p99_ms: The 99th percentile of the latency.
        cpu_us_per_request: Processor time of all server processes per response.
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
    """Return the largest difference between the service's probabilities and the model's.

    Args:
        contender: The service.
        model: Its model.
    """
    with httpx.Client(base_url=contender.url, trust_env=False, headers={"Content-Type": "application/json"}) as http:
        responses = [http.post("/predict", content=body).raise_for_status().json() for body in model.bodies()]
    probabilities = np.array([response["churn_probability"] for response in responses])
    return float(np.abs(probabilities - model.probabilities()).max())


def measure(contender: Contender, model: Model, connections: int, seconds: float) -> Figures:
    """Load a service and return its figures.

    Args:
        contender: The service.
        model: Its model.
        connections: The number of connections.
        seconds: The duration of the load.
    """
    target = Target.parse(contender.url)
    requests = [target.post("/predict", body, "application/json") for body in model.bodies()]
    generate_load(target, requests, connections, _WARM_UP_SECONDS)
    cpu = contender.cpu_seconds()
    run = generate_load(target, requests, connections, seconds)
    cpu = contender.cpu_seconds() - cpu
    responses = max(len(run.latencies), 1)
    return Figures(
        run.per_second, run.percentile_ms(50), run.percentile_ms(99), cpu / responses * 1e6, run.failed, run.cpu_share
    )


def compare(model: Model, contenders: list[Contender], rounds: int, seconds: float) -> Comparison:
    """Load the services in turn, and return the figures of each round by service and number of connections.

    Args:
        model: The model of all services.
        contenders: The services.
        rounds: The number of rounds.
        seconds: The duration of each load.
    """
    seen: Comparison = defaultdict(list)
    for number in range(rounds):
        for connections in CONNECTIONS:
            for contender in contenders:
                figures = measure(contender, model, connections, seconds)
                seen[contender.name, connections].append(figures)
                report(f"round {number + 1}, {connections:2} connections, {contender.name:8}: {_line(figures)}")
    return seen


def compare_batches(model: Model, contender: Contender, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Return the predictions per second in batches, by format, for each round.

    Args:
        model: The service's model.
        contender: The service.
        rounds: The number of rounds.
        seconds: The duration of each load.
    """
    measured = [batch_rows_per_second(contender, model, seconds) for _ in range(rounds)]
    return {form: [found[form] for found in measured] for form in measured[0]}


def batch_rows_per_second(contender: Contender, model: Model, seconds: float) -> dict[str, float]:
    """Return the predictions per second in batches of ``BATCH_ROWS``, by format.

    Args:
        contender: The service.
        model: Its model.
        seconds: The duration of each load.

    Raises:
        RuntimeError: A prediction differs from the model's, or a batch failed.
    """
    target = Target.parse(contender.url)
    found = {}
    for name, content_type, body in (("json", _JSON, _json_batch(model)), ("arrow", _ARROW, _arrow_batch(model))):
        _require_right(contender, model, content_type, body)
        run = generate_load(target, [target.post(_BATCH_PATH, body, content_type)], _BATCH_CONNECTIONS, seconds)
        if run.failed:
            raise RuntimeError(f"Batches in {name} failed: {run.errors}")
        found[name] = run.per_second * BATCH_ROWS
    return found


def _batch_columns(model: Model) -> dict[str, list[float]]:
    rows = model.rows()
    return {name: [rows[i % len(rows)][name] for i in range(BATCH_ROWS)] for name in NAMES}


def _json_batch(model: Model) -> bytes:
    ids = [f"customer-{i}" for i in range(BATCH_ROWS)]
    return json.dumps({"customer_ids": ids, "features": _batch_columns(model)}, separators=(",", ":")).encode()


def _arrow_batch(model: Model) -> bytes:
    table = pa.table({"customer_id": [f"customer-{i}" for i in range(BATCH_ROWS)], **_batch_columns(model)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue())


def _require_right(contender: Contender, model: Model, content_type: str, body: bytes) -> None:
    headers = {"Content-Type": content_type, "Accept": _JSON}
    response = httpx.post(contender.url + _BATCH_PATH, content=body, headers=headers, timeout=30, trust_env=False)
    probabilities = np.array(response.raise_for_status().json()["churn_probabilities"])
    expected = np.resize(model.probabilities(), BATCH_ROWS)
    if not np.allclose(probabilities, expected, rtol=0, atol=PREDICTION_TOLERANCE):
        raise RuntimeError(f"The predictions of a batch sent as {content_type} differ from the model's.")


def ratios(seen: Comparison, figure: str, connections: int) -> list[float]:
    """Return, for each round, the factor by which the endpoint is better than the baseline.

    Args:
        seen: The figures of all rounds.
        figure: ``rps`` or ``cpu_us_per_request``.
        connections: The number of connections.
    """
    pairs = zip(seen["endpoint", connections], seen["naive", connections], strict=True)
    quotients = [getattr(own, figure) / getattr(baseline, figure) for own, baseline in pairs]
    return quotients if figure == "rps" else [1 / quotient for quotient in quotients]


def comparison(seen: Comparison) -> dict[str, Any]:
    """Return the medians over the rounds for each number of connections, and the range of the ratio."""
    found: dict[str, Any] = {}
    for connections in CONNECTIONS:
        rps = ratios(seen, "rps", connections)
        found[f"rps_ratio_c{connections}"] = round(statistics.median(rps), 1)
        found[f"rps_ratio_c{connections}_spread"] = [round(min(rps), 1), round(max(rps), 1)]
        cpu = ratios(seen, "cpu_us_per_request", connections)
        found[f"cpu_ratio_c{connections}"] = round(statistics.median(cpu), 1)
        for figure in ("rps", "p50_ms", "p99_ms"):
            found[f"{figure}_c{connections}"] = round(_median(seen["endpoint", connections], figure), 1)
    return found


def summary(rounds: list[Figures]) -> dict[str, Any]:
    """Return the median of each figure over the rounds, and the smallest and largest throughput."""
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
    lines = [f"{'':14}{'requests/s':>12}{'range':>16}{'p50 ms':>10}{'p99 ms':>10}{'CPU us':>9}{'failed':>8}"]
    for (name, connections), rounds in seen.items():
        figures = summary(rounds)
        spread = "..".join(f"{rate:,}" for rate in figures["rps_spread"])
        lines.append(
            f"{name:8} c={connections:<4}{figures['rps']:12,.0f}{spread:>16}{figures['p50_ms']:10.2f}"
            f"{figures['p99_ms']:10.2f}{figures['cpu_us_per_request']:9,.0f}{figures['failed']:8.0f}"
        )
    return "\n".join(lines)


def main(
    rounds: Annotated[int, typer.Option(help="Number of rounds; each loads both services.")] = 5,
    seconds: Annotated[float, typer.Option(help="Duration of each load.")] = 5.0,
    quick: Annotated[bool, typer.Option("--quick", help="Two rounds of two seconds.")] = False,
) -> None:
    """Print a table, all figures and, on the last line, the figures for which the project has goals."""
    rounds, seconds = (2, 2.0) if quick else (rounds, seconds)
    with tempfile.TemporaryDirectory(prefix="churn-serving-") as name, ExitStack() as running:
        report(f"training a model with {FEATURES} features and {TREES} trees ...")
        model = train_model(Path(name))
        contenders = [running.enter_context(start(model, Path(name))) for start in (naive, endpoint)]
        differences = {one.name: largest_difference(one, model) for one in contenders}
        if max(differences.values()) > PREDICTION_TOLERANCE:
            raise SystemExit(f"The services' predictions differ from the model's: {differences}")
        seen = compare(model, contenders, rounds, seconds)
        batches = compare_batches(model, contenders[-1], rounds, seconds)
    print(_table(seen))
    for form, rates in batches.items():
        spread = f"{min(rates):,.0f}..{max(rates):,.0f}"
        print(
            f"endpoint, batches of {BATCH_ROWS:,} in {form}: {statistics.median(rates):,.0f} predictions/s ({spread})"
        )
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
