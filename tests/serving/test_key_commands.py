from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from include.serving.__main__ import app
from include.serving.endpoint.keys import KeyRing
from include.settings import SettingsError, get_settings


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "api-keys.json"


@pytest.fixture
def command(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("CHURN_SERVING__API_KEYS_FILE", str(key_file))
    get_settings.cache_clear()
    return lambda *arguments: CliRunner().invoke(app, arguments, catch_exceptions=False)


@pytest.fixture(autouse=True)
def clear_cached_settings() -> Iterator[None]:
    yield
    get_settings.cache_clear()


def test_key_is_created_listed_and_revoked(command: Callable[..., Result], key_file: Path) -> None:
    printed = command("new-key", "crm").stdout
    command("new-key", "campaigns", "--expires", "2001-12-31")
    assert KeyRing(key_file).name_of(printed.strip().encode()) == "crm"
    assert command("list-keys").stdout.splitlines() == ["campaigns\t2001-12-31 (expired)", "crm\tfor ever"]
    command("revoke-key", "crm")
    assert command("list-keys").stdout.splitlines() == ["campaigns\t2001-12-31 (expired)"]
    assert KeyRing(key_file).name_of(printed.strip().encode()) is None


@pytest.mark.parametrize("value", [None, ""])
def test_key_commands_need_a_file(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    if value is None:
        monkeypatch.delenv("CHURN_SERVING__API_KEYS_FILE", raising=False)
    else:
        monkeypatch.setenv("CHURN_SERVING__API_KEYS_FILE", value)
    get_settings.cache_clear()
    with pytest.raises(SettingsError, match="CHURN_SERVING__API_KEYS_FILE"):
        CliRunner().invoke(app, ["list-keys"], catch_exceptions=False)
