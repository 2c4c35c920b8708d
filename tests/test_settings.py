from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from include.addresses import without_credentials
from include.settings import Settings, SettingsError, get_settings


def test_two_projects_share_no_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHURN_HOME", str(tmp_path))
    monkeypatch.setenv("CHURN_REPORTS_DIR", "/reports")
    folders = []
    for project in ("grocery", "subscription"):
        monkeypatch.setenv("CHURN_PROJECT", project)
        folders.append((Settings().serving_dir, Settings().reports_dir))
    assert folders == [
        (tmp_path / "serving" / "grocery", Path("/reports/grocery")),
        (tmp_path / "serving" / "subscription", Path("/reports/subscription")),
    ]


def test_time_of_the_list_with_an_offset_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    get_settings.cache_clear()
    monkeypatch.setenv("CHURN_TASKS__LIST_BY", "07:00+05:00")
    with pytest.raises(SettingsError, match=r"time zone.*CHURN_TASKS__LIST_BY"):
        get_settings()


@pytest.mark.parametrize("project", ["", "..", "a/b", "Grocery"])
def test_invalid_project_name_is_refused(monkeypatch: pytest.MonkeyPatch, project: str) -> None:
    get_settings.cache_clear()
    monkeypatch.setenv("CHURN_PROJECT", project)
    with pytest.raises(SettingsError, match="CHURN_PROJECT"):
        get_settings()


ADDRESSES = (
    "CHURN_MLFLOW__TRACKING_URI",
    "CHURN_LANDING_URI",
    "CHURN_LAKE_URI",
    "CHURN_VERSIONS__REMOTE",
    "CHURN_SERVING__LOG__URI",
    "CHURN_ALERTS__RUNBOOK_URL",
)


@pytest.mark.parametrize("variable", ADDRESSES)
@pytest.mark.parametrize(
    "address",
    [
        "https://user:pl4nted@host.example.org/path",
        "https://pl4nted@host.example.org",
        "postgresql://user:pl4nted@host/database",
        "postgresql://user:pl4/nted@host/database",
        "postgresql://host/database?user=me&password=pl4nted",
        "s3://key:pl4nted@bucket/prefix",
        "simplecache::s3://key:pl4nted@bucket",
        "https://host/path?X-Amz-Signature=pl4nted",
        "https://host/path#access_token=pl4nted",
    ],
)
def test_addresses_with_credentials_are_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, variable: str, address: str
) -> None:
    get_settings.cache_clear()
    monkeypatch.setenv(variable, address)
    with pytest.raises(SettingsError, match=variable) as refused:
        get_settings()
    shown = "".join(traceback.format_exception(refused.value)) + caplog.text
    assert "pl4" not in shown


@pytest.mark.parametrize(
    "address",
    [
        "/var/lib/churn@1/lake",
        "s3://bucket/prefix@2",
        "http://[::1]:5000",
        "https://mlflow.example.org:5000/path?page=2#drift",
        "sqlite:////var/lib/mlflow.db",
        "postgresql://db.example.org/mlflow?sslmode=verify-full&sslkey=/run/key.pem",
    ],
)
def test_addresses_without_credentials_are_accepted(address: str) -> None:
    assert without_credentials(address) == address


def test_secrets_are_in_no_text_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    planted = "pl4nted-" * 5
    for variable, value in {
        "CHURN_DATABASES__CRM": f"postgresql://user:{planted}@host/crm",
        "CHURN_SERVING__STORE__URL": f"redis://:{planted}@host",
        "CHURN_SERVING__API_KEY": planted,
        "CHURN_TRAINING__TUNING_STORAGE": f"postgresql://user:{planted}@host/trials",
        "CHURN_PRIVACY__KEY": planted,
        "CHURN_PRIVACY__OLD_KEYS": f'["{planted}"]',
    }.items():
        monkeypatch.setenv(variable, value)
    settings = Settings()
    assert settings.databases["crm"].get_secret_value().count(planted) == 1
    for text in (repr(settings), str(settings), settings.model_dump_json(), str(settings.model_dump(mode="json"))):
        assert planted not in text
