"""The configuration of Prometheus, Alertmanager and Grafana. tests/plugins/test_metrics.py evaluates the queries."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.prometheus import DASHBOARDS, RULES, require_program


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_pass_their_tests() -> None:
    promtool = require_program("promtool")
    _run(promtool, "check", "rules", "--lint-fatal", str(RULES))
    _run(promtool, "test", "rules", str(RULES.with_name("rules_test.yml")))


def test_every_alert_has_a_test_in_which_it_fires() -> None:
    rules = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    tests = yaml.safe_load(RULES.with_name("rules_test.yml").read_text())["tests"]
    fired = {check["alertname"] for test in tests for check in test["alert_rule_test"] if check["exp_alerts"]}
    assert fired == {rule["alert"] for rule in rules}


def test_prometheus_configuration_is_valid() -> None:
    # The file of the token does not exist here.
    _run(require_program("promtool"), "check", "config", "--syntax-only", str(RULES.with_name("prometheus.yml")))


def test_alertmanager_sends_each_alert_except_those_of_airflow(root: Path) -> None:
    amtool = require_program("amtool")
    file = root / "docker" / "alertmanager" / "alertmanager.yml"
    _run(amtool, "check-config", str(file))
    for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]:
        labels = [f"{name}={value}" for name, value in {"alertname": rule["alert"], **rule["labels"]}.items()]
        receiver = "none" if rule["labels"].get("sender") == "airflow" else "slack"
        _run(amtool, "config", "routes", "test", f"--config.file={file}", f"--verify.receivers={receiver}", *labels)


@pytest.mark.parametrize("path", sorted(DASHBOARDS.glob("*.json")), ids=lambda path: path.stem)
def test_panels_have_a_place_of_their_own_and_the_provisioned_data_source(root: Path, path: Path) -> None:
    sources = root / "docker" / "grafana" / "provisioning" / "datasources" / "prometheus.yml"
    uid = yaml.safe_load(sources.read_text())["datasources"][0]["uid"]
    panels = json.loads(path.read_text())["panels"]
    assert {target["datasource"]["uid"] for panel in panels for target in panel["targets"]} == {uid}
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_mounted_paths_are_those_of_the_configuration(root: Path) -> None:
    services = yaml.safe_load((root / "docker-compose.yaml").read_text())["services"]
    jobs = yaml.safe_load(RULES.with_name("prometheus.yml").read_text())["scrape_configs"]
    mounts = {
        name: [volume.split(":")[:2] for volume in services[name]["volumes"] if isinstance(volume, str)]
        for name in ("prometheus", "airflow-api-server")
    }
    targets = {job["job_name"]: job["static_configs"][0]["targets"][0] for job in jobs}
    assert {target.split(":")[0] for target in targets.values()} <= set(services)
    token = Path(next(job for job in jobs if job["job_name"] == "churn-pipeline")["authorization"]["credentials_file"])
    assert ["scrape-token", str(token.parent)] in mounts["prometheus"]
    read_by_airflow = Path(services["airflow-api-server"]["environment"]["CHURN_METRICS__TOKEN_FILE"])
    assert ["scrape-token", str(read_by_airflow.parent)] in mounts["airflow-api-server"]
    assert read_by_airflow.name == token.name
