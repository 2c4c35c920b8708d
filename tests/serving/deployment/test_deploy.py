from __future__ import annotations

import datetime as dt
import socket
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import mlflow
import pyarrow as pa
import pytest
from mlflow.exceptions import MlflowException, get_error_code

from include.days import DayRange
from include.lake import open_lake
from include.lake.table_names import FEATURES_TABLE
from include.projects.training import LeakageLimits
from include.serving.deployment import deploy
from include.serving.deployment.client import EndpointClient
from include.serving.deployment.package import build_bento
from include.serving.deployment.rollout import RolloutError, roll_out
from include.serving.deployment.state import BentoReference, ServingState, SupersededError
from include.settings import MlflowSettings, ProjectMismatchError, Settings
from include.training.evaluation.leakage import LEAKAGE_FILE, LeakageError, LeakageReport
from include.training.model.bundle import Bundle, BundleError
from include.training.release.registry import RegistryError, UnreachableRegistryError, registry_error
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


def past_millisecond() -> dt.datetime:
    """Return the time of the call as soon as its millisecond has passed: the state records times in milliseconds."""
    called = dt.datetime.now(dt.UTC)
    after = called + dt.timedelta(milliseconds=1)
    while dt.datetime.now(dt.UTC) < after:
        pass
    return called


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
    with pytest.raises(RegistryError, match="churn-synthetic version 99") as error:
        deploy.build("99", settings)
    assert not error.value.can_retry


@pytest.mark.parametrize(
    ("status", "can_retry"), [(403, False), (404, False), *((n, True) for n in (429, 502, 503, 504))]
)
def test_status_of_the_registry_decides_about_a_retry(status: int, can_retry: bool) -> None:
    failed = MlflowException("no", error_code=get_error_code(status))
    assert registry_error("no", where="", remedy="", error=failed).can_retry == can_retry


@pytest.mark.parametrize("frozen", [False, True], ids=["no server", "frozen server"])
def test_unreachable_registry_is_reported_in_time_and_before_anything_changes(
    make_settings: Callable[[], Settings], bento: BentoReference, monkeypatch: pytest.MonkeyPatch, frozen: bool
) -> None:
    for name in ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections and never answers
        port = silent.getsockname()[1] if frozen else free_port()
        unreachable = MlflowSettings(tracking_uri=f"http://127.0.0.1:{port}", timeout_seconds=1, retries=0)
        settings = make_settings().model_copy(update={"mlflow": unreachable})
        record_deployment(settings.serving_dir, bento)
        for role in ("serve", "shadow"):
            with pytest.raises(UnreachableRegistryError, match=r"does not answer.*The endpoint is unchanged"):
                deploy.resolve(None, role, settings)
        with pytest.raises(UnreachableRegistryError, match=r"serves version 7.*clear this task"):
            deploy.restore_alias("7", settings)
        with pytest.raises(UnreachableRegistryError, match=r"provenance\.json cannot be fetched"):
            deploy.build("7", settings)
    assert ServingState(settings.serving_dir).served() == bento


def test_second_of_two_rollbacks_at_the_same_time_changes_nothing(settings: Settings) -> None:
    first, second, third = (BentoReference(f"{n}-x", str(n), f"/bentos/{n}-x", "synthetic") for n in (1, 2, 3))
    for reference in (first, second, third):
        record_deployment(settings.serving_dir, reference)
    triggered = past_millisecond()
    state = record_deployment(settings.serving_dir, second)  # the first rollback
    later = past_millisecond()
    assert deploy.roll_back(None, settings, triggered) == second.as_dict()
    assert deploy.roll_back(None, settings, later, from_version="3") == second.as_dict()
    assert (state.served(), state.previous()) == (second, third)
    with pytest.raises(SupersededError, match="now serves version 2 instead of version 3"):
        deploy.restore_alias("3", settings)


def test_rollback_from_a_version_that_no_longer_serves_changes_nothing(
    settings: Settings, bento: BentoReference
) -> None:
    second, third = (BentoReference(f"{n}-x", f"{n}-x", f"/bentos/{n}-x", "synthetic") for n in (2, 3))
    for reference in (bento, second):
        record_deployment(settings.serving_dir, reference)
    triggered = past_millisecond()
    state = record_deployment(settings.serving_dir, third)
    with pytest.raises(SupersededError, match=r"requested later|no longer serves version 2-x; it serves version 3-x"):
        deploy.roll_back(None, settings, triggered)
    with pytest.raises(SupersededError, match="no longer serves version 2-x; it serves version 3-x"):
        deploy.roll_back(None, settings, from_version="2-x")
    assert (state.served(), state.previous()) == (third, second)


def test_day_to_score_is_resolved_before_a_deployment(settings: Settings) -> None:
    with pytest.raises(RolloutError, match=r"Gold has no rows yet.*The endpoint is unchanged"):
        deploy.day_to_score(None, settings)
    table, days = open_lake(settings).table(FEATURES_TABLE), DayRange.parse("2017-12-01", "2017-12-02")
    table.replace(days, pa.table({"dt": list(days), "customer_id": ["a", "a"]}))
    assert deploy.day_to_score(None, settings) == days.last
    assert deploy.day_to_score(days.first, settings) == days.first
    with pytest.raises(RolloutError, match="no rows of 2017-12-24"):
        deploy.day_to_score(dt.date(2017, 12, 24), settings)
