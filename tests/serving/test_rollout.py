"""Deployment against the real runner: it starts with no model, and ends with no process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from include.serving.client import EndpointClient, EndpointError
from include.serving.package import build_bento
from include.serving.pointer import PREVIOUS, BentoReference, read_pointer, write_pointer
from include.serving.process import end_processes_of
from include.serving.rollout import RolloutError, roll_back, roll_out
from include.serving.smoke import SmokeTestError, smoke_test
from include.settings import ROOT, Settings
from include.training.bundle import Bundle, BundleError, Sample
from tests.serving.conftest import train_bundle

pytestmark = pytest.mark.slow


@pytest.fixture
def settings(make_settings: Callable[[], Settings]) -> Settings:
    return make_settings()


@pytest.fixture
def runner(settings: Settings) -> Iterator[psutil.Popen]:
    environment = os.environ | {
        "CHURN_HOME": str(settings.home),
        "CHURN_SERVING__PORT": str(settings.serving.port),
        "PYTHONPATH": str(ROOT),
    }
    process = psutil.Popen([sys.executable, "-m", "include.serving", "run"], cwd=ROOT, env=environment)
    try:
        yield process
    finally:
        if process.is_running():
            process.terminate()
            process.wait(30)


def running_below(home: Path) -> list[int]:
    """Processes of a server whose files lie below ``home``."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("BENTOML_HOME", "").startswith(str(home)):
                found.append(process.pid)
    return found


@pytest.fixture(scope="module")
def next_bento(bento_home: Path) -> BentoReference:
    return build_bento(train_bundle("8", seed=11), bento_home)


@pytest.fixture(scope="module")
def lying_bento(bundle: Bundle, bento_home: Path) -> BentoReference:
    """A Bento that starts, but whose samples were recorded from another model."""
    samples = tuple(Sample(features=s.features, churn_probability=1 - s.churn_probability) for s in bundle.samples)
    return build_bento(Bundle(bundle.contract, bundle.booster, samples).with_version("9"), bento_home)


def test_deploy_replace_fail_crash_and_stop(
    settings: Settings,
    runner: psutil.Popen,
    bento: BentoReference,
    next_bento: BentoReference,
    lying_bento: BentoReference,
) -> None:
    client = EndpointClient(settings.serving.url)
    time.sleep(1)
    assert runner.is_running()
    assert client.health() is None

    assert roll_out(bento, settings) == bento
    assert roll_out(next_bento, settings) == next_bento
    health = client.health()
    assert health is not None
    assert health.model_version == "8"
    assert read_pointer(settings.serving_dir, PREVIOUS) == bento

    with pytest.raises(RolloutError, match=rf"{next_bento.bento}, serves again"):
        roll_out(lying_bento, settings)
    client.wait_for(next_bento.bento, 1)
    assert read_pointer(settings.serving_dir) == next_bento
    assert read_pointer(settings.serving_dir, PREVIOUS) == bento

    assert roll_back(settings) == bento
    client.wait_for(bento.bento, 1)
    assert read_pointer(settings.serving_dir, PREVIOUS) == next_bento

    (server,) = runner.children()
    before = set(running_below(settings.home))
    server.kill()
    wait_until(lambda: before.isdisjoint(running_below(settings.home)))
    client.wait_for(bento.bento, 60)

    assert len(running_below(settings.home)) >= 2
    runner.send_signal(signal.SIGTERM)
    assert runner.wait(30) == 0
    assert running_below(settings.home) == []
    assert client.health() is None
    client.close()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_smoke_test_compares_with_training(settings: Settings, bento: BentoReference) -> None:
    result = smoke_test(bento, settings)
    assert result.rows == 8
    assert result.largest_difference <= 1e-6
    staging = f"http://127.0.0.1:{settings.serving.staging_port}"
    assert EndpointClient(staging).health() is None


def test_smoke_test_refuses_other_answers_than_training_recorded(
    settings: Settings, lying_bento: BentoReference
) -> None:
    with pytest.raises(SmokeTestError, match="Sample 0"):
        smoke_test(lying_bento, settings)


def test_damaged_bento_is_refused_before_it_is_started(settings: Settings, tmp_path: Path) -> None:
    damaged = BentoReference("1-x", "1", str(tmp_path))
    with pytest.raises(BundleError, match=r"manifest\.json"):
        smoke_test(damaged, settings)
    with pytest.raises(RolloutError, match="none served before it"):
        roll_out(damaged, settings)
    assert read_pointer(settings.serving_dir) is None


def test_there_is_nothing_to_roll_back_to(settings: Settings) -> None:
    with pytest.raises(RolloutError, match="No Bento has served before"):
        roll_back(settings)


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
    assert running_below(settings.home)
    end_processes_of(settings.serving_dir / "live")
    assert running_below(settings.home) == []


def test_unknown_pointer_target_leaves_the_runner_waiting(settings: Settings, runner: psutil.Popen) -> None:
    write_pointer(settings.serving_dir, BentoReference("1-x", "1", str(settings.home / "gone")))
    time.sleep(3)
    assert runner.is_running()
    assert not runner.children()
