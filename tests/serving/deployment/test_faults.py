"""What breaks in the middle of a change: one model serves in the end, and the clients of the old one notice nothing."""

from __future__ import annotations

import os
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
from include.serving.deployment.outcome import wait_for_outcome
from include.serving.deployment.package import build_bento, built_bento, prune_bentos
from include.serving.deployment.pointer import PREVIOUS, SHADOW, BentoReference, read_pointer, write_pointer
from include.serving.deployment.rollout import RolloutError, end_shadow, roll_out, start_shadow
from include.serving.prediction_log.shadow import ShadowError
from include.settings import ROOT, PredictionLogSettings, Settings
from include.training.model.bundle import Bundle
from tests.serving.conftest import train_bundle
from tests.serving.deployment.runners import generations_of, running, servers_of, start, wait_until
from tests.serving.servers import serving
from tests.training.contracts import contract_of


@pytest.fixture(scope="module")
def next_bento(bento_home: Path) -> BentoReference:
    return build_bento(train_bundle(seed=11), "8", bento_home)


def servers_with(settings: Settings, bento: BentoReference) -> list[psutil.Process]:
    return [one for one in servers_of(settings) if bento.path in one.cmdline()]


@pytest.mark.slow
def test_kills_in_mid_change(
    make_settings: Callable[..., Settings], bento: BentoReference, next_bento: BentoReference, bundle: Bundle
) -> None:
    settings = make_settings()
    directory = settings.serving_dir
    with running(settings) as runner:
        roll_out(bento, settings)
        with Traffic(settings.serving.url, {"7": bundle}) as traffic:
            order = write_pointer(directory, next_bento)
            wait_until(lambda: bool(servers_with(settings, next_bento)))
            servers_with(settings, next_bento)[0].kill()
            outcome = wait_for_outcome(directory, order, 60)
            assert outcome is not None
            assert (outcome.state, "exit code -9" in outcome.reason) == ("failed", True)
            traffic.wait_for_answers(50)

            write_pointer(directory, bento)
            order = write_pointer(directory, next_bento)
            wait_until(lambda: bool(servers_with(settings, next_bento)))
            runner.kill()
            runner.wait(10)
            traffic.wait_for_answers(50)
        assert (dict(traffic.errors), dict(traffic.dropped)) == ({}, {})
    with running(settings) as successor:
        outcome = wait_for_outcome(directory, order, 60)
        assert outcome is not None
        assert outcome.state == "serving"
        assert generations_of(settings) == {next_bento.bento}
        assert len(successor.children()) == 1
    assert servers_of(settings) == []


@pytest.mark.slow
def test_a_shadow_comes_and_goes_and_a_broken_one_hinders_nothing(
    make_settings: Callable[..., Settings],
    bundle: Bundle,
    bento: BentoReference,
    next_bento: BentoReference,
    tmp_path: Path,
) -> None:
    settings = make_settings(overlap_seconds=0)
    other_features = BentoReference("10-x", "10", str(tmp_path / "other"))
    renamed = [bundle.contract.features[0].model_copy(update={"name": "shoe_size"}), *bundle.contract.features[1:]]
    Bundle(contract_of(*renamed), bundle.booster, bundle.samples).save(other_features.bundle)

    def shadows() -> set[str]:
        found = set()
        for one in servers_of(settings):
            with suppress(psutil.Error):  # ended meanwhile
                found.add(one.environ().get("CHURN_SHADOW_BUNDLE", ""))
        return found

    with running(settings):
        with pytest.raises(RolloutError, match="No Bento serves"):
            start_shadow(next_bento, settings)
        write_pointer(settings.serving_dir, BentoReference("9-x", "9", str(tmp_path)), SHADOW)
        assert roll_out(bento, settings) == bento
        with pytest.raises(RolloutError, match="serves already"):
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
def test_a_server_that_cannot_be_started_again_is_no_harm_to_the_others(
    make_settings: Callable[..., Settings], bento: BentoReference, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings, folder = make_settings(workers=2), tmp_path / "bento"
    shutil.copytree(bento.path, folder)

    def pauses() -> list[float]:
        generation.tend()
        return [vars(one)["pause_seconds"] for one in caplog.records if one.getMessage() == "server not started"]

    def serve_again() -> bool:
        generation.tend()
        return len(servers_of(settings)) == 2 and generation.is_ready()

    with serving(replace(bento, path=str(folder)), settings, tmp_path / "server.log") as generation:
        killed, other = servers_of(settings)
        folder.rename(tmp_path / "gone")
        killed.kill()
        wait_until(lambda: len(pauses()) == 2)
        assert pauses() == [1.0, 2.0]
        assert servers_of(settings) == [other]
        assert EndpointClient(settings.serving.url).health() is not None
        (tmp_path / "gone").rename(folder)
        wait_until(serve_again)


@pytest.mark.slow
def test_a_taken_port_is_told_clearly(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    with socket.create_server(("127.0.0.1", settings.serving.port)):
        runner = start(settings)
        assert runner.wait(60) == 1
    assert EndpointClient(settings.serving.url).health() is None


@pytest.mark.slow
def test_a_second_runner_ends_and_the_first_goes_on(
    make_settings: Callable[..., Settings], bento: BentoReference
) -> None:
    settings = make_settings()
    with running(settings), closing(EndpointClient(settings.serving.url)) as client:
        roll_out(bento, settings)
        wait_until(lambda: len(servers_of(settings)) == 1)
        (server,) = servers_of(settings)
        second = start(settings)
        assert second.wait(60) == 1
        assert servers_of(settings) == [server]
        server.kill()
        server.wait()
        client.wait_for(bento.bento, 60)


def test_a_full_disk_leaves_the_pointers_as_they_were(tmp_path: Path, bundle: Bundle) -> None:
    bundle.save(tmp_path / "third" / "src" / "bundle")
    first, second = BentoReference("1-a", "1", "/1"), BentoReference("2-b", "2", "/2")
    settings = Settings(home=tmp_path)
    write_pointer(settings.serving_dir, first)
    write_pointer(settings.serving_dir, second, PREVIOUS)
    before = {path.name: path.read_bytes() for path in settings.serving_dir.glob("*.json")}
    # A process that may write no byte to a file meets the same error as on a full disk.
    program = """
import resource, sys
from pathlib import Path
from include.serving.deployment.pointer import BentoReference
from include.serving.deployment.rollout import roll_out
from include.settings import Settings
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
roll_out(BentoReference("3-c", "3", sys.argv[2]), Settings(home=Path(sys.argv[1])))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), str(tmp_path / "third")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "PointerError: The pointer cannot be written" in done.stderr
    assert {path.name: path.read_bytes() for path in settings.serving_dir.glob("*.json")} == before


def test_old_bentos_are_deleted_and_those_in_use_are_not(tmp_path: Path) -> None:
    folders = [tmp_path / "bentos" / "bentos" / "churn" / f"{number}-x" for number in range(1, 8)]
    for built_at, folder in enumerate(folders):
        folder.mkdir(parents=True)
        (folder / "bento.yaml").touch()
        os.utime(folder / "bento.yaml", (built_at, built_at))
    for name, number in (("current.json", 3), (PREVIOUS, 2), (SHADOW, 1)):
        write_pointer(tmp_path, BentoReference(f"{number}-x", str(number), str(folders[number - 1])), name)
    assert prune_bentos(tmp_path, keep=2) == ["4-x", "5-x"]
    assert sorted(path.name for path in folders[0].parent.iterdir()) == ["1-x", "2-x", "3-x", "6-x", "7-x"]
    assert built_bento("6", tmp_path) == BentoReference("6-x", "6", str(folders[5]))
    assert built_bento("5", tmp_path) is None
    assert read_pointer(tmp_path, SHADOW) == BentoReference("1-x", "1", str(folders[0]))
