"""Faults during a rollout: the former model answers until the rollout ends, and one model serves afterwards."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from benchmarks.traffic import Traffic
from include.serving.deployment.client import EndpointClient
from include.serving.deployment.rollout import RolloutError, end_shadow, roll_out, start_shadow
from include.serving.deployment.state import BentoReference, ServingState
from include.serving.prediction_log.shadow import ShadowError
from include.settings import ROOT, PredictionLogSettings, Settings
from include.training.model.bundle import Bundle
from tests.serving.deployment.runners import running, served_bentos, servers_of, start, wait_until
from tests.serving.servers import record_deployment, serving
from tests.training.contracts import contract_of


def servers_with(settings: Settings, bento: BentoReference) -> list[psutil.Process]:
    return [one for one in servers_of(settings) if bento.path in one.cmdline()]


@pytest.mark.slow
def test_killed_server_and_killed_runner_during_a_rollout_drop_no_request(
    make_settings: Callable[..., Settings], bento: BentoReference, next_bento: BentoReference, bundle: Bundle
) -> None:
    settings = make_settings()
    state = ServingState(settings.serving_dir)
    with running(settings) as runner:
        roll_out(bento, settings)
        with Traffic(settings.serving.url, {"7": bundle}) as traffic:
            revision = state.begin(next_bento)
            wait_until(lambda: bool(servers_with(settings, next_bento)))
            servers_with(settings, next_bento)[0].kill()
            status = state.wait_for(revision, 300)
            assert status is not None
            assert (status.phase, "exit code -9" in status.reason) == ("failed", True)
            traffic.wait_for_answers(50)

            revision = state.begin(next_bento)
            wait_until(lambda: bool(servers_with(settings, next_bento)))
            runner.kill()
            runner.wait(120)
            traffic.wait_for_answers(50)
        assert (dict(traffic.errors), dict(traffic.dropped)) == ({}, {})
    with running(settings) as successor:
        status = state.wait_for(revision, 300)
        assert status is not None
        assert status.phase == "serving"
        assert served_bentos(settings) == {next_bento.bento}
        assert len(successor.children()) == 1
    assert servers_of(settings) == []


@pytest.mark.slow
def test_shadow_starts_and_ends_and_a_broken_shadow_does_not_prevent_serving(
    make_settings: Callable[..., Settings],
    bundle: Bundle,
    bento: BentoReference,
    next_bento: BentoReference,
    tmp_path: Path,
) -> None:
    settings = make_settings(overlap_seconds=0)
    other_features = BentoReference("10-x", "10", str(tmp_path / "other"), settings.project)
    renamed = [bundle.contract.features[0].model_copy(update={"name": "shoe_size"}), *bundle.contract.features[1:]]
    Bundle(contract_of(*renamed), bundle.booster, bundle.samples).save(other_features.bundle)

    def shadows() -> set[str]:
        found = set()
        for one in servers_of(settings):
            with suppress(psutil.Error):  # the process has ended in the meantime
                found.add(one.environ().get("CHURN_SHADOW_BUNDLE", ""))
        return found

    with running(settings):
        with pytest.raises(RolloutError, match="No Bento serves"):
            start_shadow(next_bento, settings)
        ServingState(settings.serving_dir).begin(BentoReference("9-x", "9", str(tmp_path), settings.project), "shadow")
        assert roll_out(bento, settings) == bento
        with pytest.raises(RolloutError, match="already serves"):
            start_shadow(bento, settings)
        unlogged = settings.serving.model_copy(update={"log": PredictionLogSettings(enabled=False)})
        with pytest.raises(RolloutError, match="not logged"):
            start_shadow(next_bento, settings.model_copy(update={"serving": unlogged}))
        with pytest.raises(ShadowError, match="shoe_size"):
            start_shadow(other_features, settings)
        assert start_shadow(next_bento, settings) == next_bento
        wait_until(lambda: shadows() == {str(next_bento.bundle)})
        assert end_shadow(settings) == next_bento
        wait_until(lambda: shadows() == {""})


@pytest.mark.slow
def test_failed_restart_of_a_server_does_not_affect_the_others(
    make_settings: Callable[..., Settings], bento: BentoReference, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings, folder = make_settings(workers=2), tmp_path / "bento"
    shutil.copytree(bento.path, folder)

    def pauses() -> list[float]:
        pool.supervise()
        return [vars(one)["pause_seconds"] for one in caplog.records if one.getMessage() == "server not started"]

    def both_serve() -> bool:
        pool.supervise()
        return len(servers_of(settings)) == 2 and pool.is_ready()

    with serving(replace(bento, path=str(folder)), settings, tmp_path / "server.log") as pool:
        killed, other = servers_of(settings)
        folder.rename(tmp_path / "gone")
        killed.kill()
        wait_until(lambda: len(pauses()) == 2)
        assert pauses() == [1.0, 2.0]
        assert servers_of(settings) == [other]
        assert EndpointClient(settings.serving.url).health() is not None
        (tmp_path / "gone").rename(folder)
        wait_until(both_serve)


@pytest.mark.slow
def test_runner_exits_when_the_port_is_in_use(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    with socket.create_server(("127.0.0.1", settings.serving.port)):
        runner = start(settings)
        assert runner.wait(300) == 1
    assert EndpointClient(settings.serving.url).health() is None


@pytest.mark.slow
def test_second_runner_exits_and_the_first_continues(
    make_settings: Callable[..., Settings], bento: BentoReference
) -> None:
    settings = make_settings()
    with running(settings), closing(EndpointClient(settings.serving.url)) as client:
        roll_out(bento, settings)
        wait_until(lambda: len(servers_of(settings)) == 1)
        (server,) = servers_of(settings)
        second = start(settings)
        assert second.wait(300) == 1
        assert servers_of(settings) == [server]
        server.kill()
        server.wait()
        client.wait_for(bento.bento, 300)


def test_rollout_on_a_full_disk_changes_nothing(tmp_path: Path, bundle: Bundle) -> None:
    bundle.save(tmp_path / "third" / "src" / "bundle")
    first, second = (BentoReference(f"{n}-x", str(n), f"/{n}", "synthetic") for n in (1, 2))
    settings = Settings(home=tmp_path, project="synthetic")
    record_deployment(settings.serving_dir, first)
    state = record_deployment(settings.serving_dir, second)
    before = (settings.serving_dir / "state.db").read_bytes()
    # A limit on file sizes of zero bytes has the same effect as a full disk.
    program = """
import resource, sys
from pathlib import Path
from include.serving.deployment.rollout import roll_out
from include.serving.deployment.state import BentoReference
from include.settings import Settings
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
settings = Settings(home=Path(sys.argv[1]), project="synthetic")
roll_out(BentoReference("3-c", "3", sys.argv[2], settings.project), settings)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), str(tmp_path / "third")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "UnavailableStateError: The serving state cannot be written" in done.stderr
    assert (state.served(), state.previous()) == (second, first)
    assert (settings.serving_dir / "state.db").read_bytes() == before
