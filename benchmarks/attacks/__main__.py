"""Hostile requests against a served model, and kills of the local stack: ``make bench NAME=attacks``.

``ARGS="--only requests"`` and ``ARGS="--only kills"`` run one part. ``ARGS="--only requests --url URL"`` sends the
requests to a running endpoint, which must not use TLS or require a key.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import httpx
import typer

from benchmarks.attacks.kills import run_kills
from benchmarks.attacks.requests import RequestFigures, run_requests
from benchmarks.figures import print_figures
from benchmarks.serving_contenders import endpoint
from benchmarks.serving_model import train_model

_TREES = 20


def _send_requests(url: str | None) -> RequestFigures:
    """Send the hostile requests to ``url``, or to an endpoint that is started for them."""
    if url is not None:
        return run_requests(url, _samples(url))
    with tempfile.TemporaryDirectory(prefix="churnflow-") as folder:
        model = train_model(Path(folder), _TREES)
        with endpoint(model, Path(folder)) as served:
            return run_requests(served.url, _samples(served.url))


def _samples(url: str) -> list[dict[str, Any]]:
    """Return the features of the examples in the endpoint's OpenAPI document."""
    document = httpx.get(f"{url}/openapi.json", trust_env=False, timeout=60).raise_for_status().json()
    examples = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    return [example["value"]["features"] for example in examples.values() if "features" in example["value"]]


def main(
    only: Annotated[Literal["requests", "kills"] | None, typer.Option(help="Run one part.")] = None,
    url: Annotated[str | None, typer.Option(help="Send the requests to this endpoint.")] = None,
) -> None:
    """Print the figures as one JSON object on the last line."""
    figures: dict[str, Any] = {}
    details: dict[str, Any] = {}
    if only != "kills":
        requests = asdict(_send_requests(url))
        figures |= {name: requests[name] for name in ("requests", "answers_5xx", "smuggled")}
        details["findings"] = requests["findings"]
    if only != "requests":
        kills = run_kills()
        figures |= {name: kills[name] for name in ("kills", "lost_runs", "alerted_once", "retried_in_vain")}
        details["kills"] = kills["details"]
    print_figures("attacks", figures, details)


if __name__ == "__main__":
    typer.run(main)
