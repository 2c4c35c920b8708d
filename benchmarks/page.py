"""The time until the page *Model health* has arrived: a year of monitored days, over HTTP, from a real api-server.

``first_view_ms`` is the median time of the first view after a new monitoring result, from a process that has shown the
page before. The details contain the first view after the start of the api-server, which imports the pages during this
time.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from benchmarks.figures import print_figures
from benchmarks.local_stack import free_ports
from benchmarks.page_world import LAST_DAY, write_year
from include.monitoring.results import read_result, write_result
from include.settings import ROOT, Settings

VIEWS = 9
_START_SECONDS = 300


def main(
    days: Annotated[int, typer.Option(help="Monitored days.")] = 365,
    features: Annotated[int, typer.Option(help="Features of each day.")] = 100,
    pause: Annotated[float, typer.Option(help="Seconds from the start of the api-server to the first view.")] = 0.0,
) -> None:
    """Start an api-server with a year of results, and print the time until the page has arrived."""
    with tempfile.TemporaryDirectory(prefix="churn-page-") as name:
        settings = Settings(home=Path(name))
        write_year(settings, days, features)
        figures, details = measure(settings, free_ports(1)[0], pause)
    print_figures("page", figures | {"days": days, "features": features}, details)


def measure(settings: Settings, port: int, pause: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the figures and the details of an api-server that is started for them.

    Args:
        settings: The folders with the monitored days.
        port: A free port.
        pause: The seconds from the start of the api-server to the first view.
    """
    environment = os.environ | {
        "AIRFLOW_HOME": str(settings.home),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{settings.home}/airflow.db",
        "CHURN_HOME": str(settings.home),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "airflow"]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([*command, "db", "migrate"], env=environment, check=True, **quiet)
    with subprocess.Popen([*command, "api-server"], env=environment, **quiet) as server:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                return _measure(settings, client, pause)
        finally:
            server.terminate()


def _measure(settings: Settings, client: httpx.Client, pause: float) -> tuple[dict[str, Any], dict[str, Any]]:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            client.headers["Authorization"] = f"Bearer {client.get('/auth/token').json()['access_token']}"
            break
        except (httpx.HTTPError, ValueError, KeyError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    time.sleep(pause)
    at_start, _ = _view(client)
    result = read_result(settings.reports_dir, LAST_DAY)
    seconds, size = [], 0
    for number in range(VIEWS):
        write_result(settings.reports_dir, LAST_DAY, result | {"seconds": number})
        taken, size = _view(client)
        seconds.append(taken)
    figures = {"first_view_ms": round(1000 * statistics.median(seconds))}
    details = {
        "first_view_after_start_ms": round(1000 * at_start),
        "first_views_ms": [round(1000 * taken) for taken in seconds],
        "page_kb": round(size / 1000),
    }
    return figures, details


def _view(client: httpx.Client) -> tuple[float, int]:
    began = time.perf_counter()
    answer = client.get("/churn/health")
    taken = time.perf_counter() - began
    if answer.status_code != httpx.codes.OK or "<svg" not in answer.text:
        raise RuntimeError(f"The page was not shown: {answer.status_code} {answer.text[:500]}")
    return taken, len(answer.content)


if __name__ == "__main__":
    typer.run(main)
