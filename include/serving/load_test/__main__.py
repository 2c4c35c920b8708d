"""``python -m include.serving.load_test``: load a running endpoint, and compare it with the project's requirements."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Annotated

import typer

from include.command_line import CommandLine
from include.logs import configure_json_logs
from include.projects import load_project
from include.serving.load_test.generator import Measurement, Target
from include.serving.load_test.load_report import PAGE, headline, line, write_evidence
from include.serving.load_test.run import find_limit, load_at, prepare_payloads
from include.settings import get_settings

app = CommandLine(error_code=2)


@app.command()
def main(
    url: Annotated[str, typer.Option(help="The endpoint; by default that of CHURN_SERVING__HOST and __PORT.")] = "",
    seconds: Annotated[float, typer.Option(help="The duration of the load.", min=1)] = 30.0,
    connections: Annotated[int, typer.Option(help="The number of concurrent requests.", min=1, max=1024)] = 64,
    requests: Annotated[
        Path | None, typer.Option(help="A file with one body of /predict per line; by default the endpoint's examples.")
    ] = None,
    limit: Annotated[
        bool,
        typer.Option("--limit", help="Double the connections, from 1, until the latency exceeds the requirement."),
    ] = False,
) -> None:
    """Load an endpoint, print the results and write the evidence; exit with 1 when a requirement is missed."""
    configure_json_logs()
    settings = get_settings()
    performance = load_project(settings.project).requirements.performance
    address = Target.parse(url or settings.serving.url).url
    started = dt.datetime.now(dt.UTC)
    payloads = prepare_payloads(address, settings.serving.api_key, requests)
    typer.echo(f"Model version {payloads.model_version} at {address}, {len(payloads.bodies)} payloads sent in turn")
    if limit:
        test = find_limit(address, payloads, performance, seconds, _print_run)
    else:
        test = load_at(address, payloads, performance, connections, seconds, _print_run)
    folder = write_evidence(test, settings.project, started, settings.reports_dir)
    for verdict in test.verdicts:
        typer.echo(f"{'met' if verdict.ok else 'MISSED'} ({verdict.mode}): {verdict}")
    typer.echo(f"Evidence: {folder / PAGE}")
    typer.echo(json.dumps({**headline(test), "evidence": str(folder)}))
    if not test.passed:
        raise typer.Exit(1)


def _print_run(run: Measurement) -> None:
    typer.echo(line(run))


if __name__ == "__main__":
    app()
