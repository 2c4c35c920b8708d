from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import mlflow
import pytest

from include.projects.training import LeakageLimits
from include.serving.deployment import deploy
from include.serving.deployment.client import EndpointClient
from include.serving.deployment.pointer import PREVIOUS, BentoReference, read_pointer, write_pointer
from include.serving.deployment.rollout import roll_out
from include.settings import MlflowSettings, Settings
from include.training.evaluation.leakage import LEAKAGE_FILE, LeakageError, LeakageReport
from include.training.model.bundle import Bundle, BundleError
from include.training.release.registry import RegistryError
from tests.serving.conftest import free_port, train_bundle
from tests.serving.deployment.runners import running

pytestmark = pytest.mark.slow

CLEAN = LeakageReport(findings=(), limits=LeakageLimits(), features=(), splits=(), skipped=())


@pytest.fixture
def settings(make_settings: Callable[[], Settings], tmp_path: Path) -> Settings:
    return make_settings().model_copy(
        update={"mlflow": MlflowSettings(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")}
    )


def register(folder: Path, settings: Settings, artifacts: Path, leakage: LeakageReport | None = None) -> str:
    client = mlflow.MlflowClient(settings.mlflow.tracking_uri, settings.mlflow.tracking_uri)
    experiment = client.create_experiment("churn", artifact_location=artifacts.as_uri())
    run = client.create_run(experiment)
    client.log_artifacts(run.info.run_id, str(folder), "model/data/bundle")
    if leakage is not None:
        client.log_text(run.info.run_id, leakage.model_dump_json(), LEAKAGE_FILE)
    client.create_registered_model("churn-synthetic")
    source = f"{run.info.artifact_uri}/model"
    return str(client.create_model_version("churn-synthetic", source, run.info.run_id).version)


def test_bento_of_a_version_carries_the_registrys_number(bundle: Bundle, settings: Settings, tmp_path: Path) -> None:
    bundle.save(tmp_path / "bundle")
    version = register(tmp_path / "bundle", settings, tmp_path / "artifacts")
    bento = deploy.build(version, settings)
    assert bento["model_version"] == version
    packed = Bundle.load(Path(bento["path"]) / "src" / "bundle")
    assert packed.contract == bundle.contract
    assert packed.samples == bundle.samples


def test_any_version_without_a_leak_can_be_rolled_back_to_within_half_a_minute(
    bundle: Bundle, bento: BentoReference, settings: Settings, tmp_path: Path
) -> None:
    train_bundle(seed=11).save(tmp_path / "bundle")
    version = register(tmp_path / "bundle", settings, tmp_path / "artifacts", CLEAN)
    with running(settings):
        roll_out(bento, settings)
        began = time.monotonic()
        assert deploy.roll_back(version, settings)["model_version"] == version
        assert time.monotonic() - began < 30
        with closing(EndpointClient(settings.serving.url)) as client:
            health = client.health()
        assert health is not None
        assert health.model_version == version
        assert read_pointer(settings.serving_dir, PREVIOUS) == bento


@pytest.mark.parametrize("leakage", [None, CLEAN.model_copy(update={"findings": ("exit_survey ranks too well.",)})])
def test_a_version_with_a_leak_does_not_come_into_service_because_somebody_types_it(
    bundle: Bundle, bento: BentoReference, settings: Settings, tmp_path: Path, leakage: LeakageReport | None
) -> None:
    bundle.save(tmp_path / "bundle")
    version = register(tmp_path / "bundle", settings, tmp_path / "artifacts", leakage)
    write_pointer(settings.serving_dir, bento)
    with pytest.raises(LeakageError, match=f"churn-synthetic version {version}"):
        deploy.roll_back(version, settings)
    with pytest.raises(LeakageError, match=f"churn-synthetic version {version}"):
        deploy.resolve(version, "serve", settings)
    assert deploy.resolve(version, "shadow", settings) == version, "nobody gets a shadow's answers"
    assert read_pointer(settings.serving_dir) == bento


def test_damaged_bundle_is_refused(bundle: Bundle, settings: Settings, tmp_path: Path) -> None:
    bundle.save(tmp_path / "bundle")
    (tmp_path / "bundle" / "model.ubj").write_bytes(b"not a booster")
    version = register(tmp_path / "bundle", settings, tmp_path / "artifacts")
    with pytest.raises(BundleError, match=r"model\.ubj"):
        deploy.build(version, settings)


def test_unknown_version_is_named(settings: Settings) -> None:
    with pytest.raises(RegistryError, match="churn-synthetic version 99"):
        deploy.build("99", settings)


def test_silent_registry_is_told_before_anything_changes(
    make_settings: Callable[[], Settings], bento: BentoReference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    nobody = MlflowSettings(tracking_uri=f"http://127.0.0.1:{free_port()}")
    settings = make_settings().model_copy(update={"mlflow": nobody})
    write_pointer(settings.serving_dir, bento)
    for role in ("serve", "shadow"):
        with pytest.raises(RegistryError, match=r"does not answer.*goes on as it was"):
            deploy.resolve(None, role, settings)
    with pytest.raises(RegistryError, match=r"serves version 7.*clear this task"):
        deploy.restore_alias("7", settings)
    assert read_pointer(settings.serving_dir) == bento
