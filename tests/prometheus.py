"""A Prometheus server for tests, and the expressions of rules and dashboards."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from include.settings import ROOT
from local.supervision import wait_until

RULES = ROOT / "docker" / "prometheus" / "rules.yml"
DASHBOARDS = ROOT / "docker" / "grafana" / "dashboards"

_SELECTOR = re.compile(r"\b((?:ml|churn)_\w+|up)\b(\{[^}]*\})?")


def require_program(name: str) -> str:
    """Return the path of a program of Debian's packages prometheus and prometheus-alertmanager, or skip the test."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: apt-get install prometheus prometheus-alertmanager)")
    return found


def rule_expressions() -> dict[str, str]:
    """Return the expression of each alert."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


def panel_expressions() -> dict[str, tuple[str, str]]:
    """Return the expression and the legend of each query of the dashboards, by file, panel and query."""
    found = {}
    for path in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                name = f"{path.stem}: {panel['title']}: {target['refId']}"
                found[name] = target["expr"].replace("$__rate_interval", "1m"), target["legendFormat"]
    return found


def selectors(expression: str) -> set[str]:
    """Return the selectors of series in an expression, without ranges and comparisons.

    Examples:
        >>> sorted(selectors('sum by (le) (rate(ml_x_bucket{kind="a"}[5m])) > on (project) churn_y'))
        ['churn_y', 'ml_x_bucket{kind="a"}']
    """
    return {name + labels for name, labels in _SELECTOR.findall(expression)}

_SECONDS = 60.0


class Prometheus:
    """The API of a running server.

    Args:
        url: The base address.
    """

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=30, trust_env=False)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an expression."""
        answer = self._http.get("/api/v1/query", params={"query": expression}).json()
        assert answer["status"] == "success", (expression, answer)
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def is_ready(self) -> bool:
        """Return whether the server answers queries."""
        try:
            return self._http.get("/-/ready").is_success
        except httpx.TransportError:
            return False

    def wait_for(self, expression: str) -> None:
        """Wait until an expression has a series."""
        assert wait_until(lambda: bool(self.query(expression)), _SECONDS, 0.1), f"{expression} has no series"

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


@contextmanager
def running_prometheus(configuration: dict[str, Any], port: int) -> Iterator[Prometheus]:
    """Run a server until the block ends.

    Args:
        configuration: The content of ``prometheus.yml``.
        port: A free port.
    """
    program = require_program("prometheus")
    with tempfile.TemporaryDirectory(prefix="churn-test-") as folder:
        file = Path(folder) / "prometheus.yml"
        file.write_text(yaml.safe_dump(configuration))
        listen = [f"--web.listen-address=127.0.0.1:{port}", f"--storage.tsdb.path={folder}/data"]
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen([program, f"--config.file={file}", *listen], stdout=log, stderr=log)
            server = Prometheus(f"http://127.0.0.1:{port}")
            try:
                assert wait_until(server.is_ready, _SECONDS, 0.1), (Path(folder) / "log").read_text()
                yield server
            finally:
                server.close()
                process.terminate()
                process.wait(30)
