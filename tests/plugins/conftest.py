"""A real Airflow api-server in this process, with the plugin mounted as Airflow mounts it."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from include.serving.deployment.state import BentoReference
from include.settings import Settings, get_settings
from tests.monitoring.results import drifted_feature, monitoring_result, realised_model, source_health
from tests.serving.servers import record_deployment

DAY = dt.date(2017, 12, 1)


@pytest.fixture(scope="session")
def airflow_app(airflow_tables: None) -> FastAPI:
    from airflow.api_fastapi.app import create_app

    return create_app(apps="core")


@pytest.fixture(scope="session")
def churn_app(airflow_app: FastAPI) -> FastAPI:
    mounted = [route.app for route in airflow_app.routes if getattr(route, "path", None) == "/churn"]
    assert len(mounted) == 1, "Airflow did not mount the plugin."
    from churn_pages.app import app  # the plugins folder is on the path once Airflow has loaded it

    loaded: FastAPI = app
    return loaded


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, schedule="off")


@pytest.fixture
def anonymous(
    airflow_app: FastAPI, churn_app: FastAPI, airflow_database: None, settings: Settings
) -> Iterator[TestClient]:
    churn_app.dependency_overrides[get_settings] = lambda: settings
    yield TestClient(airflow_app, raise_server_exceptions=False)
    churn_app.dependency_overrides.clear()


@pytest.fixture
def token() -> Callable[[str | None], str]:
    """Return a function that creates a session token for a user with a role."""

    def make(role: str | None) -> str:
        from airflow.api_fastapi.app import get_auth_manager
        from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

        made: str = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="reader", role=role))
        return made

    return make


@pytest.fixture
def reader(anonymous: TestClient, token: Callable[[str | None], str]) -> TestClient:
    """Return a client with the session cookie of a read-only user, which is all that a page in a frame sends."""
    anonymous.cookies.set("_token", token("viewer"))
    return anonymous


def deploy(settings: Settings, version: str = "7") -> None:
    """Record a deployment of a model version with the part of its contract that pages show."""
    bento = settings.serving_dir / f"bento-{version}"
    bundle = bento / "src" / "bundle"
    bundle.mkdir(parents=True)
    contract = {"project": settings.project, "trained_through": "2017-09-24", "threshold": 0.0913}
    (bundle / "contract.json").write_text(json.dumps(contract))
    record_deployment(settings.serving_dir, BentoReference(f"churn:{version}", version, str(bento), settings.project))


@pytest.fixture
def monitored() -> dict[str, Any]:
    """Return a monitoring result with drift and known performance."""
    features = [
        drifted_feature("spend_28d", 3.1, reason="median 12 → 31"),
        drifted_feature("visits_28d", 2.0, reason="share <b>up</b>"),
        drifted_feature("quiet_one", 1.7, counts=False, reason="no influence"),
    ]
    drift = {"drifted": True, "drifted_features": 2, "features": features}
    return monitoring_result(
        DAY,
        drift=drift | {"days": [{"day": str(DAY), "severity": 3.1, "exceeds": True}]},
        sources=[source_health("transactions", DAY)],
        performance={
            "state": "known",
            "reason": "Model version 7: realised AUC 0.841.",
            "models": [realised_model(dt.date(2017, 11, 3))],
        },
        expected={
            "model_version": "7",
            "customers": 2245,
            "metrics": {"auc": {"value": 0.852, "low": 0.82, "high": 0.88}},
        },
    )
