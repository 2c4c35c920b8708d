"""Deployment against the real runner: it starts with no model, and ends with no process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from include.serving.deployment.client import EndpointClient, EndpointError
from include.serving.deployment.deploy import roll_back
from include.serving.deployment.outcome import wait_for_outcome
from include.serving.deployment.package import build_bento
from include.serving.deployment.pointer import PREVIOUS, BentoReference, read_pointer, write_pointer
from include.serving.deployment.process import end_processes_of
from include.serving.deployment.rollout import RolloutError, roll_out
from include.serving.deployment.samples import SamplesError
from include.serving.deployment.smoke import smoke_test
from include.settings import ROOT, Settings
from include.training.model.bundle import Bundle, BundleError, Sample
from tests.serving.conftest import train_bundle
from tests.serving.deployment.runners import generations_of, running, servers_of, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def settings(make_settings: Callable[[], Settings]) -> Settings:
    return make_settings()


@pytest.fixture
def runner(settings: Settings) -> Iterator[psutil.Popen]:
    with running(settings) as process:
        yield process


@pytest.fixture(scope="module")
def next_bento(bento_home: Path) -> BentoReference:
    return build_bento(train_bundle(seed=11), "8", bento_home)


@pytest.fixture(scope="module")
def lying_bento(bundle: Bundle, bento_home: Path) -> BentoReference:
    """A Bento that starts, but whose samples were recorded from another model."""
    samples = tuple(Sample(features=s.features, churn_probability=1 - s.churn_probability) for s in bundle.samples)
    return build_bento(Bundle(bundle.contract, bundle.booster, samples), "9", bento_home)


def test_deploy_replace_fail_crash_and_stop(
    settings: Settings,
    runner: psutil.Popen,
    bento: BentoReference,
    next_bento: BentoReference,
    lying_bento: BentoReference,
) -> None:
    client = EndpointClient(settings.serving.url)
    assert client.health() is None

    assert roll_out(bento, settings) == bento
    lines = httpx.get(f"{settings.serving.url}/metrics").text.splitlines()
    counts = [float(line.split()[-1]) for line in lines if line.startswith("ml_predictions_total{")]
    assert counts == [0, 0], "what the runner asks is no prediction for anybody"
    assert roll_out(next_bento, settings) == next_bento
    health = client.health()
    assert health is not None
    assert health.model_version == "8"
    assert read_pointer(settings.serving_dir, PREVIOUS) == bento

    with pytest.raises(RolloutError, match=rf"{next_bento.bento}, serves"):
        roll_out(lying_bento, settings)
    client.wait_for(next_bento.bento, 1)
    assert read_pointer(settings.serving_dir) == next_bento
    assert read_pointer(settings.serving_dir, PREVIOUS) == bento

    assert roll_back(None, settings) == bento.as_dict()
    client.wait_for(bento.bento, 1)
    assert read_pointer(settings.serving_dir, PREVIOUS) == next_bento

    assert roll_out(bento, settings) == bento, "what serves may be deployed again"
    assert read_pointer(settings.serving_dir, PREVIOUS) == next_bento

    wait_until(lambda: generations_of(settings) == {bento.bento})
    (server,) = servers_of(settings)
    server.kill()
    server.wait()
    client.wait_for(bento.bento, 60)

    runner.send_signal(signal.SIGTERM)
    assert runner.wait(30) == 0
    assert servers_of(settings) == []
    assert client.health() is None
    client.close()

    hurried = settings.serving.model_copy(update={"ready_timeout_seconds": 0.5})
    with pytest.raises(RolloutError, match="No runner has taken it up"):
        roll_out(bento, settings.model_copy(update={"serving": hurried}))
    assert read_pointer(settings.serving_dir) == bento, "what has served stays the desired one"
    assert read_pointer(settings.serving_dir, PREVIOUS) == next_bento


def test_a_server_that_hangs_is_replaced_also_while_it_loads(
    make_settings: Callable[..., Settings], bento: BentoReference
) -> None:
    settings = make_settings(liveness_seconds=0.2, ready_timeout_seconds=25)
    client = EndpointClient(settings.serving.url)
    with running(settings):
        roll_out(bento, settings)
        wait_until(lambda: len(servers_of(settings)) == 1)
        (hanging,) = servers_of(settings)
        hanging.suspend()
        wait_until(lambda: not hanging.is_running())
        wait_until(lambda: len(servers_of(settings)) == 1)
        (loading,) = servers_of(settings)
        loading.suspend()
        wait_until(lambda: not loading.is_running())
        client.wait_for(bento.bento, 60)
        (successor,) = servers_of(settings)
        assert len({one.pid for one in (hanging, loading, successor)}) == 3
    client.close()


def test_smoke_test_compares_with_training(settings: Settings, bento: BentoReference) -> None:
    result = smoke_test(bento, settings)
    assert result.rows == 8
    assert result.largest_difference <= 1e-6
    assert servers_of(settings) == []


def test_smoke_test_refuses_other_answers_than_training_recorded(
    settings: Settings, lying_bento: BentoReference
) -> None:
    with pytest.raises(SamplesError, match="Sample 0"):
        smoke_test(lying_bento, settings)


def test_damaged_bento_is_refused_before_it_is_started(settings: Settings, tmp_path: Path) -> None:
    damaged = BentoReference("1-x", "1", str(tmp_path))
    with pytest.raises(BundleError, match=r"manifest\.json"):
        smoke_test(damaged, settings)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        roll_out(damaged, settings)
    assert read_pointer(settings.serving_dir) is None


def test_without_a_runner_the_pointers_stay_what_they_were(
    make_settings: Callable[..., Settings], bento: BentoReference, next_bento: BentoReference
) -> None:
    settings = make_settings(ready_timeout_seconds=0.5)
    with pytest.raises(RolloutError, match=r"No runner has taken it up.*none served before it"):
        roll_out(bento, settings)
    assert read_pointer(settings.serving_dir) is None

    write_pointer(settings.serving_dir, bento)
    for wanted in (next_bento, bento):
        with pytest.raises(RolloutError, match="No runner has taken it up"):
            roll_out(wanted, settings)
        assert read_pointer(settings.serving_dir) == bento, "what served stays the desired one, whatever was asked for"
        assert read_pointer(settings.serving_dir, PREVIOUS) is None


@pytest.mark.parametrize("wanted", ["the same", "what served"])
def test_after_a_rollout_that_was_killed_one_goes_back_to_what_served(
    make_settings: Callable[..., Settings], bento: BentoReference, next_bento: BentoReference, wanted: str
) -> None:
    settings = make_settings(ready_timeout_seconds=0.5)
    directory = settings.serving_dir
    older = BentoReference("1-x", "1", "/1-x")
    write_pointer(directory, bento)
    write_pointer(directory, older, PREVIOUS)
    program = """
import sys
from pathlib import Path
from include.serving.deployment.pointer import BentoReference
from include.serving.deployment.rollout import roll_out
from include.settings import Settings
roll_out(BentoReference(*sys.argv[2:]), Settings(home=Path(sys.argv[1])))
"""
    arguments = [str(settings.home), *next_bento.as_dict().values()]
    killed = subprocess.Popen([sys.executable, "-c", program, *arguments], cwd=ROOT)
    try:
        wait_until(lambda: read_pointer(directory) == next_bento)
    finally:
        killed.kill()
        killed.wait()
    assert read_pointer(directory, PREVIOUS) == bento

    with pytest.raises(RolloutError, match="No runner has taken it up"):
        roll_out(next_bento if wanted == "the same" else bento, settings)
    assert read_pointer(directory) == bento
    assert read_pointer(directory, PREVIOUS) == older


def test_there_is_nothing_to_roll_back_to(settings: Settings) -> None:
    with pytest.raises(RolloutError, match="No Bento has served before"):
        roll_back(None, settings)


def test_predict_sample_without_a_model_says_so(settings: Settings) -> None:
    environment = os.environ | {"CHURN_HOME": str(settings.home), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "include.serving", "predict-sample"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no model is deployed yet" in done.stderr


def test_silent_endpoint_is_named(settings: Settings) -> None:
    client = EndpointClient(settings.serving.url)
    with pytest.raises(EndpointError, match="does not answer"):
        client.wait_for("1-x", 0.1)
    with pytest.raises(EndpointError, match="gave no answer"):
        client.predict("x", {})
    client.close()


def test_killed_runner_leaves_nothing_that_its_successor_cannot_end(
    settings: Settings, runner: psutil.Popen, bento: BentoReference
) -> None:
    roll_out(bento, settings)
    runner.kill()
    runner.wait(10)
    assert servers_of(settings)
    end_processes_of(settings.serving_dir / "live")
    assert servers_of(settings) == []


def test_unknown_pointer_target_leaves_the_runner_waiting(settings: Settings, runner: psutil.Popen) -> None:
    order = write_pointer(settings.serving_dir, BentoReference("1-x", "1", str(settings.home / "gone")))
    outcome = wait_for_outcome(settings.serving_dir, order, 60)
    assert outcome is not None
    assert outcome.state == "failed"
    assert "The Bento is not there" in outcome.reason
    assert runner.is_running()
    assert not runner.children()
