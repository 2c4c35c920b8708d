"""Settings of all tests: a temporary Airflow home, set before the first import of Airflow, and enabled logs."""

import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from include.logs import show_details_in_messages
from include.settings import ROOT

pytest_plugins = ["tests.failures", "tests.outcome", "tests.scheduling"]

# A time limit per example would fail on a busy machine.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

_home = tempfile.TemporaryDirectory(prefix="churnflow-airflow-")  # removed at the end of this process
os.environ |= {
    "AIRFLOW_HOME": _home.name,
    "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{Path(_home.name) / 'airflow.db'}",
    "AIRFLOW__API_AUTH__JWT_SECRET": "a secret for these tests only, with the 64 bytes that HS512 requires",
}


@pytest.fixture(autouse=True)
def product_logs_enabled() -> Iterator[None]:
    """Enable the INFO logs of the product: a wrong log call fails only when its level is enabled."""
    show_details_in_messages(enabled=False)  # parsing a DAG enables it
    product = logging.getLogger("include")
    level = product.level
    product.setLevel(logging.INFO)
    yield
    product.setLevel(level)


@pytest.fixture(scope="session")
def airflow_tables() -> None:
    """Airflow's tables, created once per process."""
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture(scope="module")
def airflow_database(airflow_tables: None) -> Iterator[None]:
    """Airflow's database; the DAGs, runs and heartbeats that the tests of a module store are deleted at its end."""
    from airflow.jobs.job import Job
    from airflow.models import DagModel, DagRun, Deadline
    from airflow.models.callback import Callback
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session

    yield
    with create_session() as session:
        for table in (Deadline, Callback, Job, DagRun, DagModel, DagBundleModel):
            session.query(table).delete()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The socket folder of a PostgreSQL server that the tests of a session share."""
    from tests.postgres import running_postgres

    with running_postgres() as host:
        yield host
