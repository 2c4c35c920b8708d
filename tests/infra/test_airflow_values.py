"""The values for Airflow's official chart: its options exist in the installed Airflow, and its settings are valid."""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import pytest
import yaml

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
