"""What every test needs: an Airflow home of its own, set before anything imports Airflow, and logs that are on."""

import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.logs import show_details_in_messages
from include.settings import ROOT

pytest_plugins = ["tests.failures", "tests.scheduling"]

_home = tempfile.TemporaryDirectory(prefix="churnflow-airflow-")  # removed when this process ends
os.environ |= {
    "AIRFLOW_HOME": _home.name,
    "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{Path(_home.name) / 'airflow.db'}",
    "AIRFLOW__API_AUTH__JWT_SECRET": "a secret that only these tests know, 64 bytes so that HS512 is content",
}


@pytest.fixture(autouse=True)
def product_logs_are_on() -> Iterator[None]:
    """Let every log call of the product run: a call that is wrong only fails where its level is on."""
    show_details_in_messages(enabled=False)  # a DAG that was parsed has switched it on
    product = logging.getLogger("include")
    level = product.level
    product.setLevel(logging.INFO)
    yield
    product.setLevel(level)


@pytest.fixture(scope="session")
def airflow_database() -> None:
    """Airflow's tables, made once."""
    from airflow.utils.db import initdb

    initdb()
