from __future__ import annotations

from pathlib import Path

import pytest

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
