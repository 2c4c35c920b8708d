"""Source databases from the environment and from Airflow connections."""

import json

import pytest
import sqlalchemy as sa

from dags.wiring.connections import project_connections
from include.projects import Source, load_project
from include.settings import get_settings
from include.sources.errors import SourceConnectionError

pytestmark = pytest.mark.airflow

PASSWORD = "p@ss:w/rd"


@pytest.fixture(autouse=True)
def project_with_a_database(monkeypatch):
    source = Source.model_validate(
        {
            "description": "One payment.",
            "owner": "billing",
            "kind": "events",
            "database": {"connection": "shop", "table": "payments", "watermark": "at"},
            "key": ["at"],
            "event_time": "at",
            "columns": {"at": {"type": "timestamp"}},
        }
    )
    project = load_project("grocery").model_copy(update={"sources": {"payments": source}})
    monkeypatch.setattr("include.projects.load_project", lambda name: project)
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


def airflow_connection(monkeypatch, **fields):
    connection = {"conn_type": "postgres", "host": "db", "port": 5433, "schema": "shop", "login": "app"} | fields
    monkeypatch.setenv("AIRFLOW_CONN_CHURN_SHOP", json.dumps(connection))


def test_airflow_connection_becomes_database_url(monkeypatch):
    airflow_connection(monkeypatch, password=PASSWORD, extra={"sslmode": "require"})
    url = sa.make_url(project_connections().database_url("shop").get_secret_value())
    assert (url.drivername, url.username, url.password) == ("postgresql+psycopg2", "app", PASSWORD)
    assert (url.host, url.port, url.database, url.query) == ("db", 5433, "shop", {"sslmode": "require"})


def test_environment_takes_precedence(monkeypatch):
    airflow_connection(monkeypatch)
    monkeypatch.setenv("CHURN_DATABASES__SHOP", "postgresql://elsewhere/shop")
    assert project_connections().database_url("shop").get_secret_value() == "postgresql://elsewhere/shop"


def test_password_is_hidden(monkeypatch):
    airflow_connection(monkeypatch, password=PASSWORD)
    assert PASSWORD not in repr(project_connections())


def test_error_names_variable_and_connection(monkeypatch):
    with pytest.raises(SourceConnectionError, match=r"CHURN_DATABASES__SHOP and the Airflow connection churn_shop"):
        project_connections().database_url("shop")
