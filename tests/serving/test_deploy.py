from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest

from include.serving import deploy
from include.settings import MlflowSettings, Settings
from include.training.bundle import Bundle, BundleError
from include.training.registry import RegistryError

pytestmark = pytest.mark.slow


@pytest.fixture
def settings(make_settings: Callable[[], Settings], tmp_path: Path) -> Settings:
    return make_settings().model_copy(
        update={"mlflow": MlflowSettings(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")}
    )


def register(folder: Path, settings: Settings, artifacts: Path) -> str:
    client = mlflow.MlflowClient(settings.mlflow.tracking_uri, settings.mlflow.tracking_uri)
    experiment = client.create_experiment("churn", artifact_location=artifacts.as_uri())
    run = client.create_run(experiment)
    client.log_artifacts(run.info.run_id, str(folder), "bundle")
    client.create_registered_model("churn-synthetic")
    source = f"{run.info.artifact_uri}/bundle"
    return str(client.create_model_version("churn-synthetic", source, run.info.run_id).version)


def test_bento_of_a_version_carries_the_registrys_number(bundle: Bundle, settings: Settings, tmp_path: Path) -> None:
    bundle.with_version("unregistered").save(tmp_path / "bundle")
    version = register(tmp_path / "bundle", settings, tmp_path / "artifacts")
    bento = deploy.build(version, settings)
    assert bento["model_version"] == version
    packed = Bundle.load(Path(bento["path"]) / "src" / "bundle")
    assert packed.contract == bundle.with_version(version).contract
    assert packed.samples == bundle.samples


def test_damaged_bundle_is_refused(bundle: Bundle, settings: Settings, tmp_path: Path) -> None:
    bundle.save(tmp_path / "bundle")
    (tmp_path / "bundle" / "model.ubj").write_bytes(b"not a booster")
    version = register(tmp_path / "bundle", settings, tmp_path / "artifacts")
    with pytest.raises(BundleError, match=r"model\.ubj"):
        deploy.build(version, settings)


def test_unknown_version_is_named(settings: Settings) -> None:
    with pytest.raises(RegistryError, match="churn-synthetic version 99"):
        deploy.build("99", settings)
