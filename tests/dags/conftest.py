from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.settings import ROOT
from tests.dags.bundle.pods import DATASET
from tests.kubernetes.api import KubernetesApi, kubernetes_api, write_kubeconfig
from tests.kubernetes.pod import Cluster


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "training" / DATASET).mkdir(parents=True)
    return tmp_path


@pytest.fixture
def cluster(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesApi]:
    """A simulated cluster, configured as Airflow's connection, with the claim and the secret of the pods."""
    cluster = Cluster(
        scratch=home / "scratch",
        claims={"training-data": home / "training"},
        secrets={"churn-tracking": {"MLFLOW_TRACKING_PASSWORD": "secret"}},
    )
    with kubernetes_api(cluster) as api:
        extra = {"kube_config_path": str(write_kubeconfig(api, home / "kubeconfig"))}
        connection = {"conn_type": "kubernetes", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps(connection))
        bundle = {
            "name": "pods",
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": {"path": str(ROOT / "tests/dags/bundle")},
        }
        monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([bundle]))
        yield api
