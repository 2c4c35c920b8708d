"""The chart of all components: their objects fit together, and the objects of the monitoring equal those of Compose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from include.settings import PodSettings
from tests.infra.charts import Chart, names
from tests.prometheus import DASHBOARDS, RULES

ALL = {"components": {"serving": True, "training": True, "mlflow": True, "redis": True, "monitoring": True}}


@pytest.fixture
def chart(helm: str, root: Path, tmp_path: Path) -> Chart:
    return Chart(helm, root / "helm/churnflow", tmp_path)


def only(documents: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = (item for item in documents if item["kind"] == kind and item["metadata"]["name"] == name)
    return found


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Return whether a label selector of Kubernetes selects an object with these labels."""
    expressions = selector.get("matchExpressions", [])
    assert all(item["operator"] == "In" for item in expressions)
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(item["key"]) in item["values"] for item in expressions
    )


@pytest.mark.parametrize("values", [{}, ALL], ids=["default", "all"])
def test_chart_passes_lint(chart: Chart, values: dict[str, Any]) -> None:
    done = chart.run("lint", "--strict", **values)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("component", list(ALL["components"]))
def test_each_component_can_be_left_out(chart: Chart, component: str) -> None:
    everything = {(item["kind"], item["metadata"]["name"]) for item in chart.render(**ALL)}
    values = {"components": ALL["components"] | {component: False}}
    rest = {(item["kind"], item["metadata"]["name"]) for item in chart.render(**values)}
    assert rest < everything


def test_all_pods_are_confined(chart: Chart) -> None:
    documents = chart.render(**ALL)
    templates = [item["spec"]["template"] for item in documents if item["kind"] in ("Deployment", "StatefulSet")]
    assert len(templates) == 3
    for template in templates:
        pod = template["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert set(container["resources"]) == {"requests", "limits"}


def test_network_policies_let_through_what_connects(chart: Chart) -> None:
    """Airflow and the training pods use MLflow; Airflow and the endpoint use Redis."""
    documents = chart.render(**ALL)
    labels = {
        "endpoint": only(documents, "Deployment", "churn-serving")["spec"]["template"]["metadata"]["labels"],
        "mlflow": only(documents, "Deployment", "churnflow-mlflow")["spec"]["template"]["metadata"]["labels"],
        "redis": only(documents, "StatefulSet", "churnflow-redis")["spec"]["template"]["metadata"]["labels"],
        "tune": {"app.kubernetes.io/component": "tune"},
        "train": {"app.kubernetes.io/component": "train"},
    }
    airflow = {"kubernetes.io/metadata.name": "airflow"}

    def clients(name: str) -> set[str]:
        policy = only(documents, "NetworkPolicy", name)["spec"]
        assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
        (rule,) = policy["ingress"]
        found = set()
        for peer in rule["from"]:
            if "namespaceSelector" in peer:
                assert selects(peer["namespaceSelector"], airflow)
                assert selects(peer["podSelector"], {"tier": "airflow", "component": "worker"})
                found.add("airflow")
            else:
                found |= {client for client, pod in labels.items() if selects(peer["podSelector"], pod)}
        return found

    assert clients("churnflow-mlflow") == {"airflow", "tune", "train"}
    assert clients("churnflow-redis") == {"airflow", "endpoint"}


def test_rules_and_dashboards_are_those_of_compose(chart: Chart) -> None:
    documents = chart.render(**ALL)
    (rules,) = (item["spec"] for item in documents if item["kind"] == "PrometheusRule")
    assert rules == yaml.safe_load(RULES.read_text())
    dashboards = {
        file: json.loads(text)
        for item in documents
        if item["kind"] == "ConfigMap" and item["metadata"]["labels"].get("grafana_dashboard")
        for file, text in item["data"].items()
    }
    assert dashboards == {path.name: json.loads(path.read_text()) for path in DASHBOARDS.glob("*.json")}


def test_scraped_jobs_have_the_names_that_the_rules_use(chart: Chart) -> None:
    documents = chart.render(**ALL)
    config = yaml.safe_load(RULES.with_name("prometheus.yml").read_text())
    paths = {job["job_name"]: job.get("metrics_path", "/metrics") for job in config["scrape_configs"]}
    found = {}
    for monitor in (item["spec"] for item in documents if item["kind"] == "ServiceMonitor"):
        (endpoint,) = monitor["endpoints"]
        (relabeling,) = endpoint["relabelings"]
        assert relabeling["targetLabel"] == "job"
        found[relabeling["replacement"]] = endpoint["path"]
    assert found == paths
    service = only(documents, "Service", "churn-serving")
    endpoints = [item["spec"] for item in documents if item["metadata"]["name"] == "churnflow-endpoint"]
    assert selects(endpoints[0]["selector"], service["metadata"]["labels"])
    assert endpoints[0]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]


def test_mlflow_accepts_requests_to_its_service(chart: Chart) -> None:
    documents = chart.render()
    service = only(documents, "Service", "churnflow-mlflow")
    (container,) = only(documents, "Deployment", "churnflow-mlflow")["spec"]["template"]["spec"]["containers"]
    variables = {item["name"]: item["value"] for item in container["env"]}
    hosts = variables["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    port = service["spec"]["ports"][0]["port"]
    assert {f"churnflow-mlflow:{port}", f"churnflow-mlflow.{PodSettings().namespace}:{port}"} <= set(hosts)
    assert container["readinessProbe"]["httpGet"]["httpHeaders"] == [{"name": "Host", "value": hosts[0]}]


def test_names_without_monitoring_need_no_custom_resource(chart: Chart) -> None:
    documents = chart.render()
    assert names(documents, "ServiceMonitor") == names(documents, "PrometheusRule") == set()


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"components": {"kafka": True}}, "kafka"),
        ({"mlflow": {"artifacts": "/mlruns"}}, "artifacts"),
        ({"mlflow": {"existingSecret": ""}}, "existingSecret"),
        ({"redis": {"maxMemory": "1 gigabyte"}}, "maxMemory"),
        ({"churn-serving": {"replicaCount": 0}}, "replicaCount"),
        ({"churn-training": {"pods": {"gpus": -1}}}, "gpus"),
    ],
)
def test_invalid_value_is_rejected_by_name(chart: Chart, values: dict[str, Any], named: str) -> None:
    done = chart.run("template", "churnflow", **values)
    assert done.returncode != 0
    assert named in done.stderr
