from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from include.monitoring.results import write_result
from include.settings import Settings
from tests.monitoring.results import monitoring_result
from tests.plugins.conftest import DAY, deploy
from tests.security.test_reports import Structure

pytestmark = pytest.mark.airflow


def _write(settings: Settings, path: str, content: str = "<p>found</p>") -> Path:
    file = settings.reports_dir / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content, encoding="utf-8")
    return file


PATHS = ["/health", "/reports", "/view/drift/2017-12-01/index.html", "/reports/drift/2017-12-01/index.html", "/metrics"]


class TestAccess:
    @pytest.mark.parametrize("path", PATHS)
    def test_every_page_requires_a_token(self, anonymous: TestClient, settings: Settings, path: str) -> None:
        _write(settings, "drift/2017-12-01/index.html")
        response = anonymous.get(f"/churn{path}")
        assert response.status_code == 401
        assert "found" not in response.text

    def test_every_route_is_tested(self, churn_app: FastAPI) -> None:
        known = {"/health", "/reports", "/view/{path:path}", "/reports/{path:path}", "/metrics"}
        assert {getattr(route, "path", None) for route in churn_app.routes} == known

    def test_invalid_token_is_refused(self, anonymous: TestClient) -> None:
        answer = anonymous.get("/churn/health", headers={"Authorization": "Bearer made.up.token"})
        assert answer.status_code == 403

    def test_user_without_a_role_is_refused(self, anonymous: TestClient, token: Callable[[str | None], str]) -> None:
        answer = anonymous.get("/churn/health", headers={"Authorization": f"Bearer {token(None)}"})
        assert answer.status_code == 403

    @pytest.mark.parametrize("path", PATHS)
    def test_reader_is_admitted_by_header(
        self, anonymous: TestClient, settings: Settings, token: Callable[[str | None], str], path: str
    ) -> None:
        _write(settings, "drift/2017-12-01/index.html")
        answer = anonymous.get(f"/churn{path}", headers={"Authorization": f"Bearer {token('viewer')}"})
        assert answer.status_code == 200

    @pytest.mark.parametrize("path", PATHS)
    def test_reader_is_admitted_by_cookie(self, reader: TestClient, settings: Settings, path: str) -> None:
        _write(settings, "drift/2017-12-01/index.html")
        assert reader.get(f"/churn{path}").status_code == 200


class TestReports:
    def test_reports_are_listed_by_day_newest_first(self, reader: TestClient, settings: Settings) -> None:
        for path in ("quality/2017-11-30/gold.html", "quality/2017-12-01/silver.html", "drift/2017-12-01/index.html"):
            _write(settings, path)
        page = reader.get("/churn/reports").text
        assert page.index(">2017-12-01<") < page.index(">2017-11-30<")
        assert page.count(">2017-12-01<") == 1
        for link in ("quality/2017-11-30/gold", "quality/2017-12-01/silver", "drift/2017-12-01/index"):
            assert f'href="/churn/view/{link}.html"' in page

    @pytest.mark.parametrize(
        ("path", "media_type"),
        [
            ("quality/2017-12-01/gold.html", "text/html; charset=utf-8"),
            ("drift/2017-12-01/result.json", "application/json"),
            ("model/7/model_card.md", "text/plain; charset=utf-8"),
        ],
    )
    def test_served(self, reader: TestClient, settings: Settings, path: str, media_type: str) -> None:
        _write(settings, path, "ü")
        answer = reader.get(f"/churn/reports/{path}")
        assert (answer.status_code, answer.content.decode()) == (200, "ü")
        assert answer.headers["content-type"] == media_type
        assert answer.headers["x-content-type-options"] == "nosniff"

    def test_reports_cannot_act_with_the_readers_session(self, reader: TestClient, settings: Settings) -> None:
        """A script is blocked, or runs isolated from Airflow's origin."""
        for name, refused in (("index.html", True), ("evidently.html", False)):
            _write(settings, f"drift/2017-12-01/{name}")
            policy = reader.get(f"/churn/reports/drift/2017-12-01/{name}").headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert ("script-src" not in policy) is refused
            assert ("sandbox allow-scripts;" in policy) is not refused

    @pytest.mark.parametrize(
        "path",
        [
            "drift/2017-12-01/absent.html",
            "drift/2017-12-01",
            "",
            "drift/2017-12-01/.result.x1y2",
            "drift/2017-12-01/page.svg",
            "other/2017-12-01/page.html",
            "stray.html",
            "drift/../../secret.html",
            "%2e%2e/secret.html",
            "..%2fsecret.html",
            "drift/..%2f..%2fsecret.html",
            "%2fetc/passwd",
            "drift/2017-12-01/link.html",
            "drift/2017-12-01/circle.html",
            "drift/%00.html",
            f"drift/{'x' * 300}.html",
        ],
    )
    @pytest.mark.parametrize("route", ["reports", "view"])
    def test_other_paths_are_not_found(self, reader: TestClient, settings: Settings, route: str, path: str) -> None:
        secret = _write(settings, "../secret.html", "secret")
        for unserved in ("drift/2017-12-01/.result.x1y2", "drift/2017-12-01/page.svg", "stray.html"):
            _write(settings, unserved, "secret")
        _write(settings, "other/2017-12-01/page.html", "secret")
        folder = settings.reports_dir / "drift" / "2017-12-01"
        (folder / "link.html").symlink_to(secret)
        (folder / "circle.html").symlink_to(folder / "circle.html")
        answer = reader.get(f"/churn/{route}/{path}", follow_redirects=False)
        assert answer.status_code in ({307, 404} if path == "" else {404})
        assert "secret" not in answer.text.replace("secret.html", "")

    def test_view_shows_the_report_in_a_frame(self, reader: TestClient, settings: Settings) -> None:
        _write(settings, "quality/2017-12-01/gold.html")
        page = reader.get("/churn/view/quality/2017-12-01/gold.html").text
        assert '<iframe src="/churn/reports/quality/2017-12-01/gold.html"' in page


def test_metrics_have_prometheus_text_format(reader: TestClient, settings: Settings, monitored: dict[str, Any]) -> None:
    deploy(settings)
    write_result(settings.reports_dir, DAY, monitored)
    answer = reader.get("/churn/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'ml_model_info{model_version="7",project="grocery"} 1.0' in answer.text
    assert 'ml_model_auc_low{project="grocery"} 0.811' in answer.text


def test_airflow_links_the_page_in_the_navigation_and_on_dags(reader: TestClient) -> None:
    plugins = {plugin["name"]: plugin for plugin in reader.get("/api/v2/plugins").json()["plugins"]}
    views = plugins["churn_ui"]["external_views"]
    assert {(view["destination"], view["href"]) for view in views} == {
        ("nav", "/churn/health"),
        ("dag", "/churn/health"),
    }


@pytest.mark.parametrize("name", ["</title><planted>", '" onmouseover="alert(1)', "{{ 7 * 191 }}", "<!--"])
def test_names_of_files_and_errors_stay_text(reader: TestClient, settings: Settings, name: str) -> None:
    day = "2017-12-01"

    def pages(text: str) -> list[str]:
        file = _write(settings, f"quality/{day}/{text.replace('/', '')}.html")
        damaged = settings.reports_dir / "drift" / day / "result.json"
        write_result(settings.reports_dir, DAY, monitoring_result(DAY, project=text))
        found = [
            reader.get(f"/churn{path}").text
            for path in ("/health", "/reports", f"/view/quality/{day}/{quote(file.name)}")
        ]
        file.unlink()
        damaged.unlink()
        return found

    harmless = [Structure(page).elements for page in pages("word")]
    hostile = pages(name)
    assert [Structure(page).elements for page in hostile] == harmless
    assert not any("1337" in page for page in hostile)
