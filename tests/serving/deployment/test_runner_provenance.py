"""The runner with a public key: a Bento that differs from its provenance does not serve, and the former Bento does."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from include.provenance.signature import create_keys
from include.provenance.statement import PROVENANCE_FILE, ProvenanceError
from include.serving.deployment.client import EndpointClient
from include.serving.deployment.package import build_bento
from include.serving.deployment.provenance import RegisteredModel
from include.serving.deployment.rollout import roll_out
from include.serving.deployment.state import BentoReference, ServingState
from include.serving.deployment.worker_pool import Target, WorkerPool
from include.settings import ProvenanceSettings, Settings
from include.training.model.bundle import Bundle
from tests.serving.deployment.released import flip, signed_copy, signing_settings, synthetic_provenance
from tests.serving.deployment.runners import running, servers_of, wait_until


@pytest.fixture
def settings(make_settings: Callable[[], Settings]) -> Settings:
    made = make_settings()
    return made.model_copy(update={"provenance": signing_settings(made.home).provenance})


@pytest.fixture
def signed(bento: BentoReference, settings: Settings) -> BentoReference:
    return replace(signed_copy(bento, "7", settings), bento=bento.bento)


def refuse(bento: BentoReference, settings: Settings, message: str) -> None:
    """Check that neither a rollout nor a worker pool accepts a Bento."""
    with pytest.raises(ProvenanceError, match=message):
        roll_out(bento, settings)
    with pytest.raises(ProvenanceError, match=message):
        WorkerPool(Target(bento), settings.home / "pool", settings.home / "live", settings)


@pytest.mark.slow
def test_changed_bento_is_refused_before_a_process_starts(signed: BentoReference, settings: Settings) -> None:
    folder = Path(signed.path)
    WorkerPool(Target(signed), settings.home / "pool", settings.home / "live", settings)
    for name in ("bento.yaml", "src/bundle/model.ubj", "src/include/serving/endpoint/service.py"):
        content = (folder / name).read_bytes()
        flip(folder / name)
        refuse(signed, settings, f"differs from its provenance: {name}")
        (folder / name).write_bytes(content)
    (folder / "src/xgboost.py").touch()
    refuse(signed, settings, "differs from its provenance: src/xgboost.py")
    (folder / "src/xgboost.py").unlink()
    refuse(replace(signed, model_version="8"), settings, "is of version 7")
    flip(folder / PROVENANCE_FILE)
    refuse(signed, settings, "not signed|cannot be read")
    (folder / PROVENANCE_FILE).unlink()
    refuse(signed, settings, "requires a signed provenance")
    assert ServingState(settings.serving_dir).desired() is None


@pytest.mark.slow
def test_other_key_is_refused(signed: BentoReference, settings: Settings, tmp_path: Path) -> None:
    create_keys(tmp_path / "other.pem", tmp_path / "other-public.pem")
    keys = ProvenanceSettings(public_key=tmp_path / "other-public.pem")
    refuse(signed, settings.model_copy(update={"provenance": keys}), "not signed with a trusted key")


@pytest.mark.slow
def test_changed_bento_as_shadow_is_refused(signed: BentoReference, settings: Settings, tmp_path: Path) -> None:
    other = replace(signed, path=str(tmp_path / "other"))
    shutil.copytree(signed.path, other.path)
    flip(tmp_path / "other" / "src/bundle/model.ubj")
    with pytest.raises(ProvenanceError, match=r"src/bundle/model\.ubj"):
        WorkerPool(Target(signed, other), settings.home / "pool", settings.home / "live", settings)


@pytest.mark.slow
def test_runner_refuses_a_changed_bento_while_the_former_serves(
    signed: BentoReference, next_bento: BentoReference, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state names the Bento directly: the files change after the check of the rollout."""
    following = replace(signed_copy(next_bento, "8", settings), bento=next_bento.bento)
    monkeypatch.setenv("CHURN_PROVENANCE__PUBLIC_KEY", str(settings.provenance.public_key))
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    state = ServingState(settings.serving_dir)
    with running(settings):
        roll_out(signed, settings)
        flip(Path(following.path) / "src/bundle/model.ubj")
        revision = state.begin(following)
        status = state.wait_for(revision, 300)
        assert status is not None
        assert (status.phase, "differs from its provenance" in status.reason) == ("failed", True)
        state.undo(revision)
        health = httpx.get(f"{settings.serving.url}/health").json()
        assert (health["bento"], health["model_version"]) == (signed.bento, "7")

        # A server that ends is not started again from files that have changed meanwhile.
        service = Path(signed.path) / "src/include/serving/endpoint/service.py"
        content = service.read_bytes()
        flip(service)
        for server in servers_of(settings):
            server.kill()
        wait_until(lambda: not servers_of(settings))
        service.write_bytes(content)
        wait_until(lambda: EndpointClient(settings.serving.url).health() is not None)
    assert not list(Path(signed.path).rglob("__pycache__")), "bytecode has no entry in the provenance"


@pytest.mark.slow
def test_build_that_was_killed_before_the_signature_is_repeated(bundle: Bundle, settings: Settings) -> None:
    model = RegisteredModel(bundle, synthetic_provenance("7"), b"{}")
    built = build_bento(model, "7", settings.serving_dir, settings.provenance.signing_key)
    (Path(built.path) / PROVENANCE_FILE).unlink()
    assert build_bento(model, "7", settings.serving_dir, settings.provenance.signing_key) == built
    WorkerPool(Target(built), settings.home / "pool", settings.home / "live", settings)
