from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.client import AirflowClient
from tests.local.airflow_server import AirflowServer


@pytest.fixture
def airflow() -> Iterator[AirflowServer]:
    server = AirflowServer()
    yield server
    server.close()


@pytest.fixture
def client(airflow: AirflowServer) -> Iterator[AirflowClient]:
    client = AirflowClient(airflow.url)
    yield client
    client.close()
