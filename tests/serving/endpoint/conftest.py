from __future__ import annotations

import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from include.serving.deployment.state import BentoReference
from include.serving.endpoint.keys import add_key
from include.settings import Settings
from tests.serving.endpoint.servers import Served, running

SOFT_LIMIT = 256
FAILURES_PER_MINUTE = 5


@pytest.fixture(scope="session")
def settings(make_settings: Callable[[], Settings]) -> Settings:
    """The default settings."""
    return make_settings()


@pytest.fixture(scope="session")
def registry() -> Iterator[socket.socket]:
    """A model registry that accepts no connection, at an address that only the server of ``endpoint`` knows."""
    with socket.create_server(("127.0.0.2", 0)) as listener:
        listener.setblocking(False)
        yield listener


@pytest.fixture(scope="session")
def endpoint(bento: BentoReference, settings: Settings, registry: socket.socket) -> Iterator[Served]:
    """The server with default settings, one for all tests of a process."""
    url = "http://{}:{}".format(*registry.getsockname())
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as environment:  # ends before other tests of this process start
            environment.setenv("CHURN_MLFLOW__TRACKING_URI", url)
            environment.setenv("MLFLOW_TRACKING_URI", url)
            served = stack.enter_context(running(bento, settings))
        yield served


@pytest.fixture(scope="session")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "api-keys.json"


@pytest.fixture(scope="session")
def key(key_file: Path) -> str:
    """A key of ``key_file``."""
    return add_key(key_file, "crm")


@contextmanager
def soft_limit_of_open_files(files: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="session")
def protected_endpoint(
    bento: BentoReference, make_settings: Callable[..., Settings], key_file: Path, key: str
) -> Iterator[Served]:
    """A server with API keys, started with a low soft limit of open files."""
    settings = make_settings(
        api_keys_file=key_file, api_key=SecretStr(key), key_failures_per_minute=FAILURES_PER_MINUTE
    )
    with ExitStack() as stack:
        with soft_limit_of_open_files(SOFT_LIMIT):
            served = stack.enter_context(running(bento, settings))
        yield served
    # A middleware that waits for the response after its client has disconnected would delay the stop of the server.
    assert "timeout graceful shutdown exceeded" not in served.log.read_text()
