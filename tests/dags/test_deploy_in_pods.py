"""The tasks of ``churn_deploy`` and ``churn_rollback`` with the backend ``kubernetes``, on a simulated cluster."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from include.serving.deployment import cluster as cluster_module
from include.serving.deployment.package import package
from include.serving.deployment.state import BentoReference, open_state
from include.settings import get_settings
from include.training.release.registry import Registry
from tests.infra.helm_binary import find_helm
from tests.kubernetes.deployment import serving
from tests.serving.conftest import train_bundle
from tests.serving.deployment.released import (
    CheckedCluster,
    checked_cluster,
    image_of,
    in_pods,
    register,
    signed_copy,
    signing_settings,
)

pytestmark = [pytest.mark.airflow, pytest.mark.slow]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CheckedCluster]:
    """The chart with the image of version 1, and the released versions 2 and 3, configured by variables only."""
    helm = find_helm()
    if helm is None:
        pytest.skip("helm could not be installed, and there is none on PATH")
    monkeypatch.setattr(cluster_module, "_POLL_SECONDS", 0.01)
    for name in [name for name in os.environ if name.startswith("CHURN_")]:
        monkeypatch.delenv(name)
    settings = signing_settings(tmp_path)
    bundle = train_bundle()
    versions = [register(bundle, settings) for _ in range(3)]
    built = [package(version, settings) for version in versions]
    first = signed_copy(built[0], versions[0], settings)
    found = checked_cluster(helm, first, settings)
    with serving(found.simulated, tmp_path / "kubeconfig"):
        found.settings = in_pods(settings, found.simulated.port)
        for bento in built[1:]:
            found.release(bento)
        for name, value in {
            "KUBECONFIG": tmp_path / "kubeconfig",
            "CHURN_HOME": tmp_path,
            "CHURN_PROJECT": "synthetic",
            "CHURN_MLFLOW__TRACKING_URI": settings.mlflow.tracking_uri,
            "CHURN_PROVENANCE__SIGNING_KEY": settings.provenance.signing_key,
            "CHURN_PROVENANCE__PUBLIC_KEY": settings.provenance.public_key,
            "CHURN_SERVING__BACKEND": "kubernetes",
            "CHURN_SERVING__PORT": found.simulated.port,
            "CHURN_SERVING__KUBERNETES__ROLLOUT_SECONDS": 20,
        }.items():
            monkeypatch.setenv(name, str(value))
        get_settings.cache_clear()
        yield found
    get_settings.cache_clear()


def run(dag: Any, task_id: str, *arguments: Any, **params: Any) -> Any:
    """Call the function of a task in the context of a manual run."""
    from airflow.sdk.execution_time.context import OutletEventAccessors, set_current_context

    context: Any = {
        "params": dict(dag.params.items()) | params,
        "dag_run": SimpleNamespace(run_after=dt.datetime.now(dt.UTC), partition_key=None, conf={}),
        "outlet_events": OutletEventAccessors(),
    }
    with set_current_context(context):
        return dag.get_task(task_id).python_callable(*arguments)


def deploy(version: str) -> BentoReference:
    from dags.churn_deploy import churn_deploy

    dag = churn_deploy()
    found = run(dag, "resolve_version", model_version=version, role="serve")
    bento = run(dag, "build_bento", found)
    assert run(dag, "smoke_test", bento)["rows"] > 0
    assert run(dag, "choose_role", role="serve") == "roll_out"
    return BentoReference(**run(dag, "roll_out", bento, "2017-12-17"))


def test_deployment_and_rollback_replace_the_pods(cluster: CheckedCluster, tmp_path: Path) -> None:
    from dags.churn_rollback import churn_rollback

    second, third = deploy("2"), deploy("3")
    state = open_state(get_settings())
    assert (state.served(), state.previous()) == (third, second)
    assert cluster.simulated.serving_images() == [image_of("3")] * 3

    dag = churn_rollback()
    served = run(dag, "roll_back_endpoint", model_version=None, from_version=None)
    assert served["model_version"] == "2"
    assert cluster.simulated.serving_images() == [image_of("2")] * 3
    assert run(dag, "roll_back_registry", served) == "2"
    assert Registry(get_settings()).version_of("champion") == "2"
    assert cluster.simulated.refused == [], "the chart gives all permissions"
