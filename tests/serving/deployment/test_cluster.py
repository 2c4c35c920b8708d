"""Rollouts of a model on Kubernetes: success, and the failures that a cluster has."""

from __future__ import annotations

from dataclasses import replace

import pytest

from include.serving.deployment import cluster as cluster_module
from include.serving.deployment import deploy, pods
from include.serving.deployment.cluster import ClusterError, UnreachableClusterError
from include.serving.deployment.pods import Release
from include.serving.deployment.rollout import NotInServiceError, RolloutError, roll_out
from include.serving.deployment.state import BentoReference, SupersededError, UnavailableStateError, open_state
from include.settings import ClusterSettings, Settings
from tests.kubernetes.deployment import Fate, SimulatedDeployment

pytestmark = pytest.mark.slow

IMAGES = {version: f"registry.example/churn-serving@sha256:{version * 64}" for version in ("7", "8")}


@pytest.fixture
def settings(cluster: SimulatedDeployment, cluster_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of a cluster and a registry with the images of two released versions."""
    cluster.health |= {image: {"bento": f"{version}-x", "model_version": version} for version, image in IMAGES.items()}
    monkeypatch.setattr(cluster_module, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(pods, "released", lambda version, _: Release(IMAGES[version], f"{version}-x"))
    return cluster_settings


@pytest.fixture
def bentos(bento: BentoReference) -> dict[str, BentoReference]:
    """The Bentos of both versions; they share the folder of one Bento."""
    return {version: replace(bento, bento=f"{version}-x", model_version=version) for version in IMAGES}


def test_rollout_replaces_all_pods_and_is_recorded(
    cluster: SimulatedDeployment, settings: Settings, bentos: dict[str, BentoReference]
) -> None:
    assert open_state(settings).served() is None
    roll_out(bentos["7"], settings)
    roll_out(bentos["8"], settings)
    assert cluster.serving_images() == [IMAGES["8"]] * 3
    state = open_state(settings)
    assert (state.served(), state.previous()) == (bentos["8"], bentos["7"])
    assert state.served_since() is not None
    assert cluster.refused == []


def test_rollback_needs_no_registry(
    cluster: SimulatedDeployment, settings: Settings, bentos: dict[str, BentoReference], monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("7", "8"):
        roll_out(bentos[version], settings)
    monkeypatch.delattr(pods, "released")
    assert deploy.roll_back(None, settings)["model_version"] == "7"
    assert cluster.serving_images() == [IMAGES["7"]] * 3


@pytest.mark.parametrize(
    ("fate", "reason"),
    [
        (Fate.NEVER_READY, "timed out progressing"),
        (Fate.NO_IMAGE, "ImagePullBackOff"),
        (Fate.QUOTA, "exceeded quota"),
    ],
)
def test_failed_rollout_returns_to_the_former_pods(
    cluster: SimulatedDeployment, settings: Settings, bentos: dict[str, BentoReference], fate: Fate, reason: str
) -> None:
    roll_out(bentos["7"], settings)
    cluster.fates[IMAGES["8"]] = fate
    with pytest.raises(NotInServiceError, match=f"{reason}.*former Bento 7-x serves"):
        roll_out(bentos["8"], settings)
    assert cluster.serving_images() == [IMAGES["7"]] * 3
    assert cluster.image == IMAGES["7"]
    state = open_state(settings)
    assert (state.served(), state.desired().bento) == (bentos["7"], bentos["7"])  # type: ignore[union-attr]


def test_eviction_during_the_rollout_only_delays_it(
    cluster: SimulatedDeployment, settings: Settings, bentos: dict[str, BentoReference]
) -> None:
    roll_out(bentos["7"], settings)
    cluster.fates[IMAGES["8"]] = Fate.EVICTED
    roll_out(bentos["8"], settings)
    assert cluster.serving_images() == [IMAGES["8"]] * 3


def test_api_that_does_not_answer_during_the_rollout_only_delays_it(
    cluster: SimulatedDeployment, settings: Settings, bentos: dict[str, BentoReference], monkeypatch: pytest.MonkeyPatch
) -> None:
    patched = cluster.patch

    def patch_then_fail(body: dict[str, object]) -> tuple[int, dict[str, object]]:
        answer = patched(body)
        if "spec" in body:
            cluster.fails = 60
        return answer

    monkeypatch.setattr(cluster, "patch", patch_then_fail)
    roll_out(bentos["7"], settings)
    assert cluster.serving_images() == [IMAGES["7"]] * 3


def test_api_that_does_not_answer_before_the_rollout_changes_nothing(
    cluster: SimulatedDeployment, settings: Settings, bentos: dict[str, BentoReference]
) -> None:
    before = cluster.image
    cluster.fails = 1
    with pytest.raises(UnreachableClusterError) as error:
        roll_out(bentos["7"], settings)
    assert error.value.can_retry
    assert cluster.image == before


def test_pods_that_serve_another_model_are_replaced_again(
    cluster: SimulatedDeployment, settings: Settings, bentos: dict[str, BentoReference]
) -> None:
    """The image of version 8 contains another model: the release is damaged."""
    roll_out(bentos["7"], settings)
    cluster.health[IMAGES["8"]] = {"bento": "9-x", "model_version": "9"}
    with pytest.raises(RolloutError, match="serves Bento 9-x"):
        roll_out(bentos["8"], settings)
    assert cluster.serving_images() == [IMAGES["7"]] * 3


def test_change_by_another_process_is_not_overwritten(
    cluster: SimulatedDeployment, settings: Settings, bentos: dict[str, BentoReference]
) -> None:
    cluster.changed = 1
    with pytest.raises(UnavailableStateError, match="at the same time") as error:
        roll_out(bentos["7"], settings)
    assert error.value.can_retry
    roll_out(bentos["7"], settings)


def test_later_rollout_takes_effect(
    cluster: SimulatedDeployment, settings: Settings, bentos: dict[str, BentoReference]
) -> None:
    state = open_state(settings)
    revision = state.begin(bentos["7"])
    roll_out(bentos["8"], settings)
    with pytest.raises(SupersededError, match="8-x"):
        state.commit(revision)
    assert open_state(settings).served() == bentos["8"]


def test_missing_deployment_and_missing_rights_are_named(cluster: SimulatedDeployment, settings: Settings) -> None:
    other = settings.model_copy(
        update={
            "serving": settings.serving.model_copy(update={"kubernetes": ClusterSettings(deployment="absent")}),
        }
    )
    with pytest.raises(ClusterError, match=r"403.*Deployment churn/absent") as error:
        open_state(other).served()
    assert not error.value.can_retry
    assert cluster.refused == ["get deployments"]


def test_changes_by_kubernetes_do_not_disturb_the_record(
    cluster: SimulatedDeployment, settings: Settings, bentos: dict[str, BentoReference]
) -> None:
    """The controller writes the status during a rollout, so the version of the Deployment changes."""
    cluster.updated = 3
    roll_out(bentos["7"], settings)
    assert open_state(settings).served() == bentos["7"]
    cluster.updated = 100
    with pytest.raises(UnavailableStateError, match="at the same time"):
        roll_out(bentos["8"], settings)
    assert cluster.serving_images() == [IMAGES["7"]] * 3


def test_api_that_is_down_for_longer_than_the_limit_leaves_a_rollout_that_a_retry_completes(
    cluster: SimulatedDeployment, settings: Settings, bentos: dict[str, BentoReference], monkeypatch: pytest.MonkeyPatch
) -> None:
    roll_out(bentos["7"], settings)
    kubernetes = settings.serving.kubernetes.model_copy(update={"rollout_seconds": 0.2})
    impatient = settings.model_copy(update={"serving": settings.serving.model_copy(update={"kubernetes": kubernetes})})
    with monkeypatch.context() as outage:
        fail_after_the_patch(cluster, outage, requests=10**9)
        with pytest.raises(NotInServiceError, match=r"API does not answer after.*was not restored") as error:
            roll_out(bentos["8"], impatient)
    assert error.value.can_retry
    cluster.fails = 0
    assert open_state(settings).served() == bentos["7"]
    roll_out(bentos["8"], settings)
    assert cluster.serving_images() == [IMAGES["8"]] * 3
    assert (open_state(settings).served(), open_state(settings).previous()) == (bentos["8"], bentos["7"])


@pytest.mark.parametrize("deployed", [True, False], ids=["after a rollout", "first rollout"])
def test_deployment_that_was_killed_after_the_patch_runs_again(
    cluster: SimulatedDeployment, settings: Settings, bentos: dict[str, BentoReference], deployed: bool
) -> None:
    if deployed:
        roll_out(bentos["7"], settings)
    before, served = cluster.image, open_state(settings).served()
    kill_after_the_patch(cluster, settings, bentos["8"])
    assert cluster.image == IMAGES["8"]
    assert open_state(settings).served() == served
    # The pods of version 8 contain another model, so the second attempt returns to the model before the first attempt.
    cluster.health[IMAGES["8"]] = {"bento": "9-x", "model_version": "9"}
    with pytest.raises(RolloutError, match="serves Bento 9-x"):
        roll_out(bentos["8"], settings)
    assert cluster.serving_images() == [before] * 3
    assert open_state(settings).served() == served
    cluster.health[IMAGES["8"]] = {"bento": "8-x", "model_version": "8"}
    kill_after_the_patch(cluster, settings, bentos["8"])
    roll_out(bentos["8"], settings)
    assert cluster.serving_images() == [IMAGES["8"]] * 3
    assert open_state(settings).served() == bentos["8"]


def test_new_pods_are_required_again_after_an_eviction_of_a_failed_rollout(
    cluster: SimulatedDeployment, settings: Settings, bentos: dict[str, BentoReference]
) -> None:
    """The same image is deployed again after its fault was corrected."""
    roll_out(bentos["7"], settings)
    cluster.fates[IMAGES["8"]] = Fate.NO_IMAGE
    with pytest.raises(NotInServiceError, match="ImagePullBackOff") as error:
        roll_out(bentos["8"], settings)
    assert error.value.can_retry
    cluster.fates[IMAGES["8"]] = Fate.EVICTED
    roll_out(bentos["8"], settings)
    assert cluster.serving_images() == [IMAGES["8"]] * 3


def fail_after_the_patch(cluster: SimulatedDeployment, monkeypatch: pytest.MonkeyPatch, requests: int) -> None:
    """Let the API fail for a number of requests after the image was replaced."""
    patched = cluster.patch

    def patch_then_fail(body: dict[str, object]) -> tuple[int, dict[str, object]]:
        answer = patched(body)
        if "spec" in body:
            cluster.fails = requests
        return answer

    monkeypatch.setattr(cluster, "patch", patch_then_fail)


def kill_after_the_patch(cluster: SimulatedDeployment, settings: Settings, bento: BentoReference) -> None:
    """Leave what a deployment leaves that is killed after it has replaced the image."""
    state = open_state(settings)
    replaced = pods.Pods(bento, state, settings)
    state.begin(bento)
    replaced._deployment.set_model(replaced._candidate)
    assert cluster.image == IMAGES[bento.model_version]


def test_shadow_is_refused_before_anything_changes(settings: Settings) -> None:
    with pytest.raises(RolloutError, match="no shadow on Kubernetes"):
        deploy.resolve("8", "shadow", settings)
