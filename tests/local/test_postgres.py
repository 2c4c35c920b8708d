from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg2
import pytest

from include.settings import ROOT
from local.postgres import databases_exist, socket_dir
from tests.postgres import postgres_folder

pytestmark = pytest.mark.slow


DATABASES = ("airflow_grocery", "mlflow")


class Server:
    """The embedded PostgreSQL as a separate process, as in the stack."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.process = self._launch()

    def restart(self) -> None:
        self.process = self._launch()

    @property
    def host(self) -> str:
        return socket_dir(self.data) or ""

    def postmaster(self) -> psutil.Process:
        return psutil.Process(int((self.data / "postmaster.pid").read_text().splitlines()[0]))

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def _launch(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "local.postgres", str(self.data), *DATABASES]
        process = subprocess.Popen(
            command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "PostgreSQL is ready.\n"
        return process


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Return the processes that still exist after 30 seconds."""
    return list(psutil.wait_procs(processes, timeout=30)[1])


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    with postgres_folder() as folder:
        server = Server(folder / ("x" * 120))
        yield server
        server.stop()


@pytest.fixture
def server(shared: Server) -> Server:
    """The running server, restarted if the previous test has stopped it."""
    if shared.process.poll() is not None:
        shared.restart()
    return shared


def write(server: Server) -> None:
    with psycopg2.connect(host=server.host, user="postgres", dbname="mlflow") as connection:
        connection.cursor().execute("DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT 7 AS number")
    connection.close()


def read(server: Server) -> int:
    with psycopg2.connect(host=server.host, user="postgres", dbname="mlflow") as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT number FROM kept")
        number = int(cursor.fetchone()[0])
    connection.close()
    return number


def test_databases_accept_connections_when_the_path_is_too_long_for_a_socket(server: Server) -> None:
    assert databases_exist(server.host, DATABASES)


def test_sigterm_stops_all_processes_and_keeps_the_data(server: Server) -> None:
    write(server)
    postmaster = server.postmaster()
    family = [postmaster, *postmaster.children(recursive=True)]
    server.stop()
    assert server.process.returncode == 0
    assert alive(family) == []
    assert socket_dir(server.data) is None
    server.restart()
    assert read(server) == 7


def test_server_is_reused_after_its_supervising_process_was_killed(server: Server) -> None:
    write(server)
    postmaster = server.postmaster()
    server.process.kill()
    server.process.wait(30)
    server.restart()
    assert server.postmaster() == postmaster
    assert read(server) == 7
    server.stop()
    assert alive([postmaster]) == []


def test_killed_server_recovers(server: Server) -> None:
    write(server)
    postmaster = server.postmaster()
    family = [postmaster, *postmaster.children(recursive=True)]
    server.process.kill()
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):  # some processes end with the postmaster
            process.kill()
    server.process.wait(30)
    assert alive(family) == []
    server.restart()
    assert read(server) == 7
