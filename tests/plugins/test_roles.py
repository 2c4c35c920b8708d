"""The rights of each role in Airflow: a viewer reads, an operator triggers, and an approver approves."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from include.settings import Settings, get_settings
from local.users import LocalUsers

pytestmark = pytest.mark.airflow

Token = Callable[[str | None], str]


def request(client: TestClient, token: str, method: str, path: str, **arguments: Any) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return client.request(method, path, headers=headers, follow_redirects=False, **arguments).status_code


@pytest.mark.parametrize("role", ["viewer", "op", "admin"])
def test_every_role_reads_the_pages(anonymous: TestClient, token: Token, role: str) -> None:
    for path in ("/churn/health", "/churn/reports", "/churn/metrics", "/api/v2/dags"):
        assert request(anonymous, token(role), "GET", path) == 200


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/v2/dags/churn_score/dagRuns", {"logical_date": None, "conf": {}}),
        ("PATCH", "/api/v2/dags/churn_score", {"is_paused": True}),
        ("POST", "/api/v2/connections", {"connection_id": "slack_churn", "conn_type": "slackwebhook"}),
        ("GET", "/api/v2/connections", None),
        ("GET", "/api/v2/variables", None),
    ],
)
def test_a_viewer_changes_nothing_and_reads_no_connection(
    anonymous: TestClient, token: Token, method: str, path: str, body: dict[str, Any] | None
) -> None:
    assert request(anonymous, token("viewer"), method, path, json=body) == 403
    # The DAG is not in the database of the test: 404 shows that the access check has passed.
    assert request(anonymous, token("op"), method, path, json=body) in {200, 201, 404}


def test_reports_are_shown_with_the_permission_of_their_dag(
    anonymous: TestClient, token: Token, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

    for path in ("model/7/model_card.html", "drift/2017-12-01/index.html"):
        file = settings.reports_dir / path
        file.parent.mkdir(parents=True)
        file.write_text("<p>found</p>")
    allowed = SimpleAuthManager.is_authorized_dag

    def all_but_training(self: Any, *, details: Any = None, **arguments: Any) -> bool:
        return getattr(details, "id", None) != "churn_train" and allowed(self, details=details, **arguments)

    monkeypatch.setattr(SimpleAuthManager, "is_authorized_dag", all_but_training)
    viewer = token("viewer")
    for route in ("reports", "view"):
        assert request(anonymous, viewer, "GET", f"/churn/{route}/drift/2017-12-01/index.html") == 200
        assert request(anonymous, viewer, "GET", f"/churn/{route}/model/7/model_card.html") == 404
    page = anonymous.get("/churn/reports", headers={"Authorization": f"Bearer {viewer}"}).text
    assert "drift/2017-12-01" in page
    assert "model_card" not in page


@pytest.mark.parametrize(("user", "allowed"), [("eva", True), ("mallory", False)])
def test_only_an_approver_approves_a_promotion(monkeypatch: pytest.MonkeyPatch, user: str, allowed: bool) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    from dags.wiring.approval import PromotionApproval

    monkeypatch.setenv("CHURN_TRAINING__APPROVERS", '["eva"]')
    get_settings.cache_clear()
    try:
        task: Any = PromotionApproval(task_id="approve_promotion", hours=1, version="8")
        assert [approver["id"] for approver in task.assigned_users] == ["eva"]
        answer = {"responded_at": dt.datetime.now(dt.UTC), "responded_by_user": {"id": user, "name": user.title()}}
        answer |= {"chosen_options": ["Approve version 8"], "params_input": {}}
        if allowed:
            assert task.execute_complete({}, answer) == {"approved": True, "by": "Eva"}
        else:
            with pytest.raises(AirflowFailException, match="Mallory is not in CHURN_TRAINING__APPROVERS"):
                task.execute_complete({}, answer)
    finally:
        get_settings.cache_clear()


def test_local_users_log_in_with_their_roles(
    anonymous: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHURN_LOCAL_USERS", "eva:viewer,ali:operator")
    folder = settings.home / "stack"
    for name, value in LocalUsers().options(folder).items():
        monkeypatch.setenv(f"AIRFLOW__CORE__{name}", value)
    passwords = json.loads((folder / "passwords.json").read_text())
    assert passwords["admin"] == LocalUsers().admin_password(folder)
    triggered = {}
    for name, password in passwords.items():
        login = anonymous.post("/auth/token", json={"username": name, "password": password})
        token = login.json()["access_token"]
        body = {"logical_date": None, "conf": {}}
        triggered[name] = request(anonymous, token, "POST", "/api/v2/dags/churn_score/dagRuns", json=body)
    assert triggered == {"eva": 403, "ali": 404, "admin": 404}
    assert anonymous.post("/auth/token", json={"username": "eva", "password": "guess"}).status_code == 401
    assert anonymous.get("/auth/token").status_code == 403
