"""Many clients of a server that was started where few files may be open."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest

from include.serving.deployment.pointer import BentoReference
from include.settings import Settings
from tests.serving.endpoint.servers import Served, running

SOFT = 256
CLIENTS = 400


@pytest.fixture
def endpoint(bento: BentoReference, make_settings: Callable[[], Settings]) -> Iterator[Served]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, hard))
        try:
            served = stack.enter_context(running(bento, make_settings()))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        yield served


@pytest.mark.slow
def test_more_clients_than_the_soft_limit_are_served(endpoint: Served) -> None:
    address = httpx.URL(endpoint.url)
    with ExitStack() as clients:
        for _ in range(CLIENTS):
            clients.enter_context(socket.create_connection((address.host, address.port)))
        # On a connection of its own each, so that each one is the newest.
        with_new_connections = [
            httpx.get(f"{endpoint.url}/health", trust_env=False, timeout=30).status_code for _ in range(5)
        ]
    assert with_new_connections == [200] * 5
    assert "Too many open files" not in endpoint.log.read_text()


@pytest.mark.parametrize(("connections", "is_told"), [(100, False), (299, True)])
def test_a_hard_limit_that_is_too_low_is_told(connections: int, is_told: bool) -> None:
    program = f"""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 300))
from include.logs import configure_json_logs
from include.serving.server.open_files import raise_open_files_limit
configure_json_logs()
raise_open_files_limit({connections})
print(resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "(300, 300)" in done.stdout
    assert ("fewer open files allowed than connections need" in done.stdout + done.stderr) == is_told
