from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from include.serving.deployment.server_process import server_environment
from include.settings import ServingSettings, Settings


class _SecretServing(ServingSettings):
    """A settings group with a secret that is not part of the real settings."""

    token: SecretStr = SecretStr("")


def test_server_reads_the_settings_of_the_process_that_starts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_default_settings_are_left_out_for_older_bentos(tmp_path: Path) -> None:
    assert server_environment(Settings(home=tmp_path), tmp_path / "live")["CHURN_SERVING"] == "{}"


def test_server_does_not_import_this_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    assert "PYTHONPATH" not in server_environment(Settings(home=tmp_path), tmp_path / "live")
