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
from include.serving.deployment.package import build_bento
from include.serving.deployment.rollout import roll_out
from include.serving.deployment.state import BentoReference, ServingState
from include.settings import MlflowSettings, ProjectMismatchError, Settings
from include.training.evaluation.leakage import LEAKAGE_FILE, LeakageError, LeakageReport
from include.training.model.bundle import Bundle, BundleError
from include.training.release.registry import RegistryError
from tests.serving.conftest import free_port, train_bundle
from tests.serving.deployment.runners import running
from tests.serving.servers import record_deployment

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


def test_bento_contains_the_registered_model_and_its_version(
    bundle: Bundle, settings: Settings, tmp_path: Path
) -> None:
    bundle.save(tmp_path / "bundle")
    version = register(tmp_path / "bundle", settings, tmp_path / "artifacts")
    bento = deploy.build(version, settings)
    assert bento["model_version"] == version
    packed = Bundle.load(Path(bento["path"]) / "src" / "bundle")
    assert packed.contract == bundle.contract
    assert packed.samples == bundle.samples


@pytest.mark.timing
def test_rollback_to_any_version_without_a_leak_takes_a_few_times_a_rollout(
    bento: BentoReference, settings: Settings, tmp_path: Path
) -> None:
    train_bundle(seed=11).save(tmp_path / "bundle")
    version = register(tmp_path / "bundle", settings, tmp_path / "artifacts", CLEAN)
    with running(settings):
        began = time.monotonic()
        roll_out(bento, settings)
        rolled_out = time.monotonic()
        assert deploy.roll_back(version, settings)["model_version"] == version
        # The rollback also builds the Bento. On an idle machine a rollout takes about 5 s.
        assert time.monotonic() - rolled_out < 6 * (rolled_out - began)
        with closing(EndpointClient(settings.serving.url)) as client:
            health = client.health()
        assert health is not None
        assert health.model_version == version
        assert ServingState(settings.serving_dir).previous() == bento


@pytest.mark.parametrize("leakage", [None, CLEAN.model_copy(update={"findings": ("exit_survey ranks too well.",)})])
def test_version_with_a_suspected_leak_is_not_served(
    bundle: Bundle, bento: BentoReference, settings: Settings, tmp_path: Path, leakage: LeakageReport | None
) -> None:
    bundle.save(tmp_path / "bundle")
    version = register(tmp_path / "bundle", settings, tmp_path / "artifacts", leakage)
    record_deployment(settings.serving_dir, bento)
    with pytest.raises(LeakageError, match=f"churn-synthetic version {version}"):
        deploy.roll_back(version, settings)
    with pytest.raises(LeakageError, match=f"churn-synthetic version {version}"):
        deploy.resolve(version, "serve", settings)
    assert deploy.resolve(version, "shadow", settings) == version, "the predictions of a shadow are only logged"
    assert ServingState(settings.serving_dir).served() == bento


def test_damaged_bundle_is_not_built(bundle: Bundle, settings: Settings, tmp_path: Path) -> None:
    bundle.save(tmp_path / "bundle")
    (tmp_path / "bundle" / "model.ubj").write_bytes(b"not a booster")
    version = register(tmp_path / "bundle", settings, tmp_path / "artifacts")
    with pytest.raises(BundleError, match=r"model\.ubj"):
        deploy.build(version, settings)


def test_model_of_another_project_is_not_built(bundle: Bundle, settings: Settings, tmp_path: Path) -> None:
    foreign = Bundle(bundle.contract.model_copy(update={"project": "other"}), bundle.booster, bundle.samples)
    foreign.save(tmp_path / "bundle")
    version = register(tmp_path / "bundle", settings, tmp_path / "artifacts")
    with pytest.raises(ProjectMismatchError, match=r"registered model belongs to project 'other'.*churn-synthetic"):
        deploy.build(version, settings)
    with pytest.raises(ProjectMismatchError, match="belongs to project 'other'"):
        build_bento(foreign, version, settings.serving_dir)


def test_error_names_an_unknown_version(settings: Settings) -> None:
    with pytest.raises(RegistryError, match="churn-synthetic version 99"):
        deploy.build("99", settings)


def test_unreachable_registry_is_reported_before_anything_changes(
    make_settings: Callable[[], Settings], bento: BentoReference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    unreachable = MlflowSettings(tracking_uri=f"http://127.0.0.1:{free_port()}")
    settings = make_settings().model_copy(update={"mlflow": unreachable})
    record_deployment(settings.serving_dir, bento)
    for role in ("serve", "shadow"):
        with pytest.raises(RegistryError, match=r"does not answer.*The endpoint is unchanged"):
            deploy.resolve(None, role, settings)
    with pytest.raises(RegistryError, match=r"serves version 7.*clear this task"):
        deploy.restore_alias("7", settings)
    assert ServingState(settings.serving_dir).served() == bento
