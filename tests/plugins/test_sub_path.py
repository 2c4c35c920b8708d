"""The pages with a base URL of Airflow that has a path. Airflow reads this URL at import, so a process is started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from include.settings import ROOT, Settings

pytestmark = pytest.mark.airflow

PROGRAM = """
import re
from airflow.utils.db import initdb
initdb()
from airflow.api_fastapi.app import create_app, get_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from fastapi.testclient import TestClient
client = TestClient(create_app(apps="core"))
client.cookies.set("_token", get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="reader", role="viewer")))
plugins = client.get("/airflow/api/v2/plugins").json()["plugins"]
views = [view["href"] for plugin in plugins if plugin["name"] == "churn_ui" for view in plugin["external_views"]]
print('found', views)
for path in [views[0], "/airflow/churn/view/quality/2017-12-01/gold.html"]:
    page = client.get(path)
    print('found', page.status_code, re.findall('(?:href|src)="([^"]*)"', page.text))
"""


def test_pages_and_links_are_below_the_path_of_airflow(tmp_path: Path) -> None:
    report = Settings(home=tmp_path).reports_dir / "quality" / "2017-12-01" / "gold.html"
    report.parent.mkdir(parents=True)
    report.write_text("<p>found</p>")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env=os.environ
        | {
            "AIRFLOW_HOME": str(tmp_path),
            "AIRFLOW__API__BASE_URL": "http://host/airflow",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
            "CHURN_HOME": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    views, health, view = [line for line in done.stdout.splitlines() if line.startswith("found")]
    assert views == "found ['/airflow/churn/health', '/airflow/churn/health']"
    assert health.startswith("found 200 [")
    assert view.startswith("found 200 [")
    links = [link for link in (health + view).split("'")[1::2] if not link.startswith("#")]
    assert "/airflow/churn/reports" in links
    assert all(link.startswith("/airflow/churn/") for link in links)
