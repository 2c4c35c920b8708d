"""The values for Airflow's official chart: its options exist in the installed Airflow, and its settings are valid."""

from __future__ import annotations

import json
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from include.settings import ROOT, Settings

VALUES: dict[str, Any] = yaml.safe_load((ROOT / "helm/airflow-values.yaml").read_text(encoding="utf-8"))


@pytest.mark.airflow
def test_options_exist_in_the_installed_airflow() -> None:
    from airflow.configuration import conf

    assert VALUES["airflowVersion"] == version("apache-airflow")
    known = conf.configuration_description
    options = [(section, name) for section, values in VALUES["config"].items() for name in values]
    assert [option for option in options if option[1] not in known[option[0]]["options"]] == []
    assert find_spec(VALUES["config"]["core"]["auth_manager"].rpartition(".")[0])


def test_settings_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VALUES["env"]:
        monkeypatch.setenv(variable["name"], variable["value"])
    settings = Settings()
    assert settings.serving.backend == "kubernetes"
    assert settings.serving.url == "http://churn-serving.churn:80"
    assert str(settings.home) == next(mount["mountPath"] for mount in VALUES["volumeMounts"])


def test_no_script_of_airflows_own_image_is_used() -> None:
    for component in (VALUES["scheduler"], VALUES["triggerer"], VALUES["dagProcessor"], VALUES["workers"]["celery"]):
        assert component["logGroomerSidecar"]["enabled"] is False


def plain_variables() -> Draft202012Validator:
    """Return the schema of the plain environment variables of the chart churn-serving."""
    schema = json.loads((ROOT / "helm/churn-serving/values.schema.json").read_text(encoding="utf-8"))
    return Draft202012Validator(schema["properties"]["env"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CHURN_SERVING__API_KEY", "x"),
        ("CHURN_SERVING__STORE__URL", "redis://redis:6379/0"),
        ("CHURN_PRIVACY__KEY", "x"),
        ("CHURN_DATABASES__CRM", "x"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
        ("MLFLOW_TRACKING_PASSWORD", "x"),
        ("MLFLOW_TRACKING_TOKEN", "x"),
        ("AIRFLOW_CONN_SLACK_CHURN", "x"),
        ("CHURN_MLFLOW__TRACKING_URI", "https://user:password@mlflow.example.org"),
        ("CHURN_LAKE_URI", "s3://key@bucket/lake"),
        ("KEY", "-----BEGIN PRIVATE KEY-----"),
    ],
)
def test_charts_refuse_secrets_in_plain_variables(name: str, value: str) -> None:
    assert not plain_variables().is_valid({name: value})


def test_charts_accept_other_plain_variables() -> None:
    accepted = {"CHURN_SERVING__MAX_BODY_BYTES": "65536", "AWS_WEB_IDENTITY_TOKEN_FILE": "/run/token"}
    assert plain_variables().is_valid(accepted)
    kept_by_airflow = {variable["name"]: variable["value"] for variable in VALUES["env"]}
    connection = kept_by_airflow.pop("AIRFLOW_CONN_KUBERNETES_DEFAULT")
    assert plain_variables().is_valid(kept_by_airflow)
    assert set(json.loads(connection)) == {"conn_type", "extra"}
