"""Deployments to a real runner, from its start without a model to the exit of its last process."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
import pytest

from include.serving.deployment import deploy
from include.serving.deployment.client import EndpointClient, EndpointError, SamplesError
from include.serving.deployment.package import build_bento
from include.serving.deployment.rollout import RolloutError, roll_out
from include.serving.deployment.runner import Runner
from include.serving.deployment.server_process import ServerProcess, end_processes_of, server_environment
from include.serving.deployment.state import BentoReference, ServingState
from include.serving.prediction_log.shadow import Shadow
from include.settings import ROOT, ProjectMismatchError, Settings
from include.training.model.bundle import Bundle, BundleError, Sample
from tests.serving.deployment.runners import running, served_bentos, servers_of, wait_until
from tests.serving.servers import record_deployment

pytestmark = pytest.mark.slow


@pytest.fixture
def settings(make_settings: Callable[[], Settings]) -> Settings:
    return make_settings()


@pytest.fixture(scope="module")
def wrong_bento(bundle: Bundle, bento_home: Path) -> BentoReference:
    """A Bento that starts, but contains samples of another model."""
    samples = tuple(Sample(features=s.features, churn_probability=1 - s.churn_probability) for s in bundle.samples)
    return build_bento(Bundle(bundle.contract, bundle.booster, samples), "9", bento_home)


def desired(settings: Settings) -> BentoReference | None:
    revision = ServingState(settings.serving_dir).desired()
    return revision and revision.bento


def previous(settings: Settings) -> BentoReference | None:
    return ServingState(settings.serving_dir).previous()


def test_deployment_survives_replacement_a_bad_model_a_rollback_and_a_killed_server(
    settings: Settings, bento: BentoReference, next_bento: BentoReference, wrong_bento: BentoReference
) -> None:
    client = EndpointClient(settings.serving.url)
    assert client.health() is None
    with running(settings) as runner:
        state = ServingState(settings.serving_dir)
        missing = state.begin(BentoReference("1-x", "1", str(settings.home / "missing"), settings.project))
        status = state.wait_for(missing, 300)
        assert status is not None
        assert (status.phase, "The Bento does not exist" in status.reason) == ("failed", True)
        assert not runner.children()
        state.undo(missing)

        assert roll_out(bento, settings) == bento
        lines = httpx.get(f"{settings.serving.url}/metrics").text.splitlines()
        counts = [float(line.split()[-1]) for line in lines if line.startswith("ml_predictions_total{")]
        assert counts == [0, 0], "the runner's requests are not counted as predictions"
        assert roll_out(next_bento, settings) == next_bento
        health = client.health()
        assert health is not None
        assert health.model_version == "8"
        assert previous(settings) == bento

        with pytest.raises(RolloutError, match=rf"{next_bento.bento} serves"):
            roll_out(wrong_bento, settings)
        client.wait_for(next_bento.bento, 1)
        assert (desired(settings), previous(settings)) == (next_bento, bento)

        assert deploy.roll_back(None, settings) == bento.as_dict()
        client.wait_for(bento.bento, 1)
        assert previous(settings) == next_bento

        assert roll_out(bento, settings) == bento, "the Bento that serves may be deployed again"
        assert previous(settings) == next_bento

        wait_until(lambda: served_bentos(settings) == {bento.bento})
        (server,) = servers_of(settings)
        server.kill()
        server.wait()
        client.wait_for(bento.bento, 300)

        runner.send_signal(signal.SIGTERM)
        assert runner.wait(300) == 0
    assert servers_of(settings) == []
    assert client.health() is None
    client.close()


def test_server_that_hangs_while_it_serves_or_loads_is_replaced(
    make_settings: Callable[..., Settings], bento: BentoReference
) -> None:
    settings = make_settings(liveness_seconds=0.2, ready_timeout_seconds=25)
    client = EndpointClient(settings.serving.url)
    with running(settings) as runner:
        roll_out(bento, settings)
        wait_until(lambda: len(servers_of(settings)) == 1)
        (hanging,) = servers_of(settings)
        hanging.suspend()
        wait_until(lambda: not hanging.is_running())
        wait_until(lambda: len(servers_of(settings)) == 1)
        (loading,) = servers_of(settings)
        loading.suspend()
        wait_until(lambda: not loading.is_running())
        client.wait_for(bento.bento, 300)
        (successor,) = servers_of(settings)
        assert len({one.pid for one in (hanging, loading, successor)}) == 3

        runner.kill()
        runner.wait()
        assert servers_of(settings) == [successor], "a killed runner leaves its servers behind"
        end_processes_of(settings.serving_dir / "live")
        assert servers_of(settings) == []
    client.close()


def test_smoke_test_compares_predictions_with_training(
    settings: Settings, bento: BentoReference, wrong_bento: BentoReference
) -> None:
    result = deploy.smoke(bento.as_dict(), settings)
    assert result["rows"] == 8
    assert result["largest_difference"] <= 1e-6
    with pytest.raises(SamplesError, match="Sample 0"):
        deploy.smoke(wrong_bento.as_dict(), settings)
    assert servers_of(settings) == []


def test_damaged_bento_is_rejected_before_it_starts(settings: Settings, tmp_path: Path) -> None:
    damaged = BentoReference("1-x", "1", str(tmp_path), settings.project)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        deploy.smoke(damaged.as_dict(), settings)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        roll_out(damaged, settings)
    assert desired(settings) is None


def test_bento_of_another_project_is_not_served(
    make_settings: Callable[..., Settings], bento: BentoReference, bundle: Bundle, tmp_path: Path
) -> None:
    own = make_settings()
    record_deployment(own.serving_dir, bento)
    other = Settings(home=own.home, project="other", serving=own.serving)
    for use in (deploy.smoke, partial(deploy.roll_out, requested=dt.datetime.now(dt.UTC))):
        with pytest.raises(ProjectMismatchError, match=r"belongs to project 'synthetic'.*'other'"):
            use(bento.as_dict(), settings=other)
    assert desired(other) is None
    foreign = Bundle(bundle.contract.model_copy(update={"project": "other"}), bundle.booster)
    with pytest.raises(ProjectMismatchError, match="belongs to project 'other'"):
        Shadow(foreign, "8", bundle.contract)

    shutil.copytree(own.serving_dir, other.serving_dir, dirs_exist_ok=True)
    runner = Runner(other)
    runner.step()
    assert servers_of(other) == []
    runner.stop()

    # A container gets the Bento by its path, and may set no project.
    with (tmp_path / "log").open("wb") as log:
        environment = server_environment(other, other.serving_dir / "live")
        server = ServerProcess(Path(bento.path), tmp_path / "server", environment, output=log)
        wait_until(lambda: server.exit_code is not None)
    assert server.exit_code != 0
    del environment["CHURN_PROJECT"]
    server = ServerProcess(Path(bento.path), tmp_path / "server", environment)
    wait_until(lambda: server.exit_code is not None or server.client.health() is not None)
    server.stop()
    server.wait(60)
    assert server.exit_code == 0
    assert "belongs to project 'synthetic', but CHURN_PROJECT is 'other'" in (tmp_path / "log").read_text()


def test_rollout_without_a_runner_changes_nothing(
    make_settings: Callable[..., Settings], bento: BentoReference, next_bento: BentoReference
) -> None:
    settings = make_settings(ready_timeout_seconds=0.5)
    with pytest.raises(RolloutError, match=r"No runner has started the Bento.*No Bento served before"):
        roll_out(bento, settings)
    assert desired(settings) is None
    with pytest.raises(RolloutError, match="No Bento has served before"):
        deploy.roll_back(None, settings)

    record_deployment(settings.serving_dir, bento)
    for candidate in (next_bento, bento):
        with pytest.raises(RolloutError, match="No runner has started the Bento"):
            roll_out(candidate, settings)
        assert (desired(settings), previous(settings)) == (bento, None)


@pytest.mark.parametrize("candidate", ["the same Bento", "the served Bento"])
def test_rollout_after_a_killed_one_returns_to_the_served_bento(
    make_settings: Callable[..., Settings], bento: BentoReference, next_bento: BentoReference, candidate: str
) -> None:
    settings = make_settings(ready_timeout_seconds=0.5)
    older = BentoReference("1-x", "1", "/1-x", settings.project)
    record_deployment(settings.serving_dir, older)
    record_deployment(settings.serving_dir, bento)
    program = """
import sys
from pathlib import Path
from include.serving.deployment.rollout import roll_out
from include.serving.deployment.state import BentoReference
from include.settings import Settings
roll_out(BentoReference(*sys.argv[2:]), Settings(home=Path(sys.argv[1]), project="synthetic"))
"""
    arguments = [str(settings.home), *next_bento.as_dict().values()]
    killed = subprocess.Popen([sys.executable, "-c", program, *arguments], cwd=ROOT)
    try:
        wait_until(lambda: desired(settings) == next_bento)
    finally:
        killed.kill()
        killed.wait()
    assert previous(settings) == bento

    with pytest.raises(RolloutError, match="No runner has started the Bento"):
        roll_out(next_bento if candidate == "the same Bento" else bento, settings)
    assert (desired(settings), previous(settings)) == (bento, older)


def test_predict_sample_needs_a_deployed_model(settings: Settings) -> None:
    environment = os.environ | {"CHURN_HOME": str(settings.home), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "include.serving", "predict-sample"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no model is deployed yet" in done.stderr


def test_error_names_an_endpoint_that_does_not_answer(settings: Settings) -> None:
    client = EndpointClient(settings.serving.url)
    with pytest.raises(EndpointError, match="does not answer"):
        client.wait_for("1-x", 0.1)
    with pytest.raises(EndpointError, match="gave no answer"):
        client.predict("x", {})
    client.close()
