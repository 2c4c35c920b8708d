from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from include.serving.deployment.environment import server_environment
from include.settings import ServingSettings, Settings


class _SecretServing(ServingSettings):
    """Some group with a secret, so that this test does not depend on which secrets serving has."""

    token: SecretStr = SecretStr("")


def test_server_reads_the_settings_that_it_was_started_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(
        home=tmp_path,
        project="subscription",
        lake_uri="s3://bucket/lake",
        serving=ServingSettings(port=4321, workers=3, ready_timeout_seconds=1.5),
    )
    monkeypatch.setenv("CHURN_SERVING__PORT", "9")
    environment = server_environment(settings, tmp_path / "live")
    monkeypatch.delenv("CHURN_SERVING__PORT")
    for name in [name for name in environment if name.startswith("CHURN_")]:
        monkeypatch.setenv(name, environment[name])
    read = Settings()
    assert read.serving == settings.serving
    assert read.serving_dir == settings.serving_dir
    assert (read.home, read.project, read.lake_uri) == (tmp_path, "subscription", "s3://bucket/lake")


def test_secrets_reach_the_server_readable(tmp_path: Path) -> None:
    serving = _SecretServing(token=SecretStr("open sesame"))
    settings = Settings(home=tmp_path).model_copy(update={"serving": serving})
    environment = server_environment(settings, tmp_path / "live")
    assert _SecretServing.model_validate_json(environment["CHURN_SERVING"]) == serving


def test_older_bento_need_not_know_settings_that_are_not_used(tmp_path: Path) -> None:
    assert server_environment(Settings(home=tmp_path), tmp_path / "live")["CHURN_SERVING"] == "{}"


def test_code_of_the_product_is_not_imported_by_a_bento(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    assert "PYTHONPATH" not in server_environment(Settings(home=tmp_path), tmp_path / "live")
