"""A real Airflow api-server in this process, with the plugin mounted as Airflow mounts it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from include.settings import Settings, get_settings


@pytest.fixture(scope="session")
def airflow_app(airflow_database: None) -> FastAPI:
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
def anonymous(airflow_app: FastAPI, churn_app: FastAPI, settings: Settings) -> Iterator[TestClient]:
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


@pytest.fixture
def monitored() -> dict[str, Any]:
    """Return a monitoring result with drift and known performance."""
    return {
        "project": "grocery",
        "day": "2017-12-01",
        "drift": {
            "drifted": True,
            "reason": "2 of 3 features drifted; the limit is 2.",
            "drifted_features": 2,
            "features": [
                {"name": "spend_28d", "drifted": True, "counts": True, "reason": "median 12 → 31", "severity": 3.1},
                {"name": "visits_28d", "drifted": True, "counts": True, "reason": "share <b>up</b>", "severity": 2.0},
                {"name": "quiet_one", "drifted": True, "counts": False, "reason": "no drift", "severity": 0.2},
            ],
        },
        "performance": {
            "state": "known",
            "reason": "Model version 7: realised AUC 0.841.",
            "decayed": False,
            "models": [
                {
                    "model_version": "7",
                    "first_day": "2017-10-28",
                    "last_day": "2017-11-03",
                    "customers": 2245,
                    "churners": 283,
                    "expected_churn": 0.131,
                    "calibration_error": 0.02,
                    "metrics": {
                        "auc": {"value": 0.841, "low": 0.812, "high": 0.866},
                        "accuracy": {"value": 0.873, "low": 0.85, "high": 0.89},
                        "observed_churn": {"value": 0.126, "low": 0.11, "high": 0.14},
                    },
                    "promised": {"auc": {"value": 0.855, "low": 0.84, "high": 0.87}},
                    "verdict": "not decayed",
                    "reason": "realised AUC 0.841",
                }
            ],
            "segments": [],
        },
    }
