from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from include.serving.deployment.package import build_bento
from include.serving.deployment.state import BentoReference
from include.settings import ROOT, ClusterSettings, ServingSettings, Settings
from include.training.model.bundle import Bundle
from tests.infra.charts import Chart
from tests.infra.helm_binary import find_helm
from tests.kubernetes.deployment import SimulatedDeployment, serving
from tests.serving.conftest import train_bundle


@pytest.fixture(scope="session")
def next_bundle() -> Bundle:
    return train_bundle(seed=11)


@pytest.fixture(scope="session")
def next_bento(next_bundle: Bundle, bento_home: Path) -> BentoReference:
    return build_bento(next_bundle, "8", bento_home)


@pytest.fixture(scope="session")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The documents of the chart by their kind."""
    helm = find_helm()
    if helm is None:
        pytest.skip("helm could not be installed, and there is none on PATH")
    rendered = Chart(helm, ROOT / "helm/churn-serving", tmp_path_factory.mktemp("chart")).render()
    return {document["kind"]: document for document in rendered}


@pytest.fixture
def cluster(
    manifests: dict[str, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SimulatedDeployment]:
    """The chart's Deployment with its default image, which contains version 1."""
    simulated = SimulatedDeployment(copy.deepcopy(manifests["Deployment"]), manifests["Role"])
    simulated.health[simulated.image] = {"bento": "1-x", "model_version": "1"}
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    with serving(simulated, tmp_path / "kubeconfig"):
        yield simulated


@pytest.fixture
def cluster_settings(cluster: SimulatedDeployment, tmp_path: Path) -> Settings:
    serving_settings = ServingSettings(
        backend="kubernetes",
        port=cluster.port,
        ready_timeout_seconds=2,
        kubernetes=ClusterSettings(deployment=cluster.deployment["metadata"]["name"], rollout_seconds=20),
    )
    return Settings(home=tmp_path, project="synthetic", serving=serving_settings)
