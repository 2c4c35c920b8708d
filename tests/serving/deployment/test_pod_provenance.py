"""Pods that check the provenance of their image: an image or a statement that differs does not come into service."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from include.projects import load_project
from include.provenance.statement import PROVENANCE_FILE, ProvenanceError
from include.readiness.production import provenance
from include.readiness.system import System
from include.serving.deployment import cluster as cluster_module
from include.serving.deployment import deploy
from include.serving.deployment.cluster import CHECK, PROVENANCE
from include.serving.deployment.pods import IMAGE_TAG, Release, record_release
from include.serving.deployment.rollout import NotInServiceError, RolloutError, roll_out
from include.serving.deployment.state import BentoReference, open_state
from include.settings import ProvenanceSettings, Settings
from include.training.model.bundle import Bundle
from include.training.release.registry import Registry
from tests.infra.helm_binary import find_helm
from tests.kubernetes.deployment import serving
from tests.serving.deployment.released import (
    CheckedCluster,
    checked_cluster,
    flip,
    image_of,
    in_pods,
    register,
    signed_copy,
    signing_settings,
    statement_of,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def bentos(bento: BentoReference, bundle: Bundle, tmp_path: Path) -> list[BentoReference]:
    """The signed Bentos of versions 1, 2 and 3, which are registered."""
    settings = signing_settings(tmp_path)
    return [signed_copy(bento, register(bundle, settings), settings) for _ in range(3)]


@pytest.fixture
def cluster(bentos: list[BentoReference], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CheckedCluster]:
    """The chart with the image of version 1; versions 2 and 3 are released, and version 2 serves."""
    helm = find_helm()
    if helm is None:
        pytest.skip("helm could not be installed, and there is none on PATH")
    monkeypatch.setattr(cluster_module, "_POLL_SECONDS", 0.01)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    keys = ProvenanceSettings(signing_key=tmp_path / "signing.pem", public_key=tmp_path / "public.pem")
    settings = signing_settings_of(tmp_path, keys)
    found = checked_cluster(helm, bentos[0], settings)
    with serving(found.simulated, tmp_path / "kubeconfig"):
        found.settings = in_pods(settings, found.simulated.port)
        for bento in bentos[1:]:
            found.release(bento)
        roll_out(bentos[1], found.settings)
        yield found


def signing_settings_of(home: Path, keys: ProvenanceSettings) -> Settings:
    return Settings(
        home=home, project="synthetic", mlflow={"tracking_uri": f"sqlite:///{home}/mlflow.db"}, provenance=keys
    )


def require_version_2(cluster: CheckedCluster, bentos: list[BentoReference]) -> None:
    assert cluster.simulated.serving_images() == [image_of("2")] * 3
    assert cluster.simulated.image == image_of("2")
    assert open_state(cluster.settings).served() == bentos[1]
    assert cluster.simulated.refused == []


def test_rollout_brings_the_statement_and_the_digest_to_the_pods(
    cluster: CheckedCluster, bentos: list[BentoReference]
) -> None:
    require_version_2(cluster, bentos)
    roll_out(bentos[2], cluster.settings)
    template = cluster.simulated.deployment["spec"]["template"]
    (check,) = template["spec"]["initContainers"]
    assert (check["name"], check["image"]) == (CHECK, image_of("3"))
    assert check["env"] == [{"name": "IMAGE", "value": image_of("3")}]
    assert template["metadata"]["annotations"][PROVENANCE] == statement_of(bentos[2], cluster.settings)
    assert cluster.simulated.serving_images() == [image_of("3")] * 3


def test_readiness_compares_the_pods_with_their_statement(cluster: CheckedCluster) -> None:
    system = System(cluster.settings, load_project("grocery"), dt.datetime.now(dt.UTC))
    found = provenance(system)
    assert found.passed
    assert "Version 2, which serves, has the checksums of its provenance, whose signature was checked." in found.text
    (container,) = cluster.simulated.deployment["spec"]["template"]["spec"]["containers"]
    container["image"] = image_of("3")
    with pytest.raises(ProvenanceError, match="image of model version 2 differs"):
        provenance(system)


def test_rollback_takes_the_statement_from_the_former_pods(
    cluster: CheckedCluster, bentos: list[BentoReference], tmp_path: Path
) -> None:
    """The registry is gone, and the Bento was built on the disk of another worker."""
    roll_out(bentos[2], cluster.settings)
    (tmp_path / "mlflow.db").unlink()
    elsewhere = tmp_path / "elsewhere"
    Path(bentos[1].path).rename(elsewhere)
    cluster.simulated.node.images[image_of("2")] = elsewhere
    assert deploy.roll_back(None, cluster.settings)["model_version"] == "2"
    require_version_2(cluster, bentos)


@pytest.mark.parametrize("name", ["src/bundle/model.ubj", "src/include/serving/endpoint/service.py", PROVENANCE_FILE])
def test_flipped_byte_in_the_image_keeps_the_former_pods(
    cluster: CheckedCluster, bentos: list[BentoReference], tmp_path: Path, name: str
) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(bentos[2].path, damaged)
    flip(damaged / name)
    cluster.simulated.node.images[image_of("3")] = damaged
    reason = "CrashLoopBackOff: .*(differs from its provenance|cannot be read|not signed).*former Bento 2-x serves"
    with pytest.raises(NotInServiceError, match=reason):
        roll_out(bentos[2], cluster.settings)
    require_version_2(cluster, bentos)


def test_flipped_byte_in_the_statement_changes_nothing(cluster: CheckedCluster, bentos: list[BentoReference]) -> None:
    statement = statement_of(bentos[2], cluster.settings)
    for damaged in (statement.replace("payload", "pbyload", 1), statement[:99] + "!" + statement[100:], "{}"):
        record_release("3", Release(image_of("3"), "3-x", damaged), cluster.settings)
        with pytest.raises(ProvenanceError):
            roll_out(bentos[2], cluster.settings)
        require_version_2(cluster, bentos)


def test_pods_refuse_a_statement_that_the_deploying_process_did_not_check(
    cluster: CheckedCluster, bentos: list[BentoReference]
) -> None:
    unsigned = ProvenanceSettings(signing_key=None, public_key=None)
    without_key = cluster.settings.model_copy(update={"provenance": unsigned})
    record_release("3", Release(image_of("3"), "3-x", statement_of(bentos[2], without_key)), cluster.settings)
    with pytest.raises(NotInServiceError, match=r"not signed with a trusted key.*former Bento 2-x serves"):
        roll_out(bentos[2], without_key)
    require_version_2(cluster, bentos)


def test_other_digest_and_missing_statement_change_nothing(
    cluster: CheckedCluster, bentos: list[BentoReference]
) -> None:
    Registry(cluster.settings).set_tags("3", {IMAGE_TAG: image_of("4")})
    with pytest.raises(ProvenanceError, match="image of model version 3 differs"):
        roll_out(bentos[2], cluster.settings)
    record_release("3", Release(image_of("3"), "3-x", "\n"), cluster.settings)
    with pytest.raises(ProvenanceError):
        roll_out(bentos[2], cluster.settings)
    require_version_2(cluster, bentos)


def test_image_without_provenance_is_refused_before_the_pods_change(
    cluster: CheckedCluster, bentos: list[BentoReference], bundle: Bundle, bento: BentoReference
) -> None:
    version = register(bundle, cluster.settings)
    record_release(version, Release(image_of(version), f"{version}-x"), cluster.settings)
    with pytest.raises(ProvenanceError, match="There is no provenance"):
        roll_out(signed_copy(bento, version, cluster.settings), cluster.settings)
    require_version_2(cluster, bentos)


def test_version_that_was_released_again_gets_its_new_image(
    cluster: CheckedCluster, bentos: list[BentoReference]
) -> None:
    """The former pods of the version have the image of its first release."""
    roll_out(bentos[2], cluster.settings)
    again = replace(bentos[1], bento="2-y")
    with pytest.raises(RolloutError, match="serves Bento 2-x"):
        roll_out(again, cluster.settings)  # the release has not changed
    cluster.simulated.health[image_of("2")]["bento"] = "2-y"
    roll_out(again, cluster.settings)
    assert cluster.simulated.serving_images() == [image_of("2")] * 3
