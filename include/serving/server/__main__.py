"""``python -m include.serving.server``, started in the folder ``src`` of a Bento: serve it until SIGTERM."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

# prometheus_client reads this variable once, at its import. The runner sets it to a folder that the workers share.
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="churn-metrics-")

import bentoml
import uvicorn
from _bentoml_impl.server.app import ServiceAppFactory  # type: ignore[import-untyped]
from starlette.types import ASGIApp

from include.logs import configure_json_logs
from include.serving.server.connection import BoundedConnection
from include.serving.server.connection_limit import ConnectionLimit, usable_connections
from include.serving.server.draining import DrainingServer, duplicated
from include.serving.shutdown_timeouts import LAST_ANSWERS_SECONDS
from include.settings import get_settings

# Longer than the 60 s after which load balancers close an idle connection. If the endpoint closed the connection first,
# a request that the load balancer sends at that moment would be lost.
_KEEP_ALIVE_SECONDS = 75
_BACKLOG = 2048


def main() -> None:
    """Load the Bento, listen, and end with exit code 0 on SIGTERM."""
    arguments = _arguments()
    # For the time until the model is loaded; then the server installs its own handlers.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    configure_json_logs()
    logging.getLogger().handlers = logging.getLogger("include").handlers
    serving = get_settings().serving
    limit = ConnectionLimit(usable_connections(serving.limits.connections))
    config = uvicorn.Config(
        _application(arguments.bento),
        loop="uvloop",
        http=partial(BoundedConnection, limits=serving.limits, connection_limit=limit),  # type: ignore[arg-type]  # uvicorn only calls it
        ws="none",
        lifespan="on",
        log_config=None,
        # At lower levels uvicorn logs a line for each malformed request, so any client could fill the log.
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=LAST_ANSWERS_SECONDS,
    )
    public = None if arguments.fd is None else socket.socket(fileno=arguments.fd)
    DrainingServer(config, serving.drain_seconds, public).run(duplicated(_listener(arguments)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m include.serving.server")
    parser.add_argument("--bento", type=Path, required=True, help="the Bento's folder")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--private", type=Path, help="a Unix socket to create, for this user only")
    where.add_argument("--port", type=int, help="a port to listen on")
    parser.add_argument("--host", default="127.0.0.1", help="the address of --port")
    parser.add_argument("--fd", type=int, help="a bound socket to accept from after SIGUSR1")
    return parser.parse_args()


def _listener(arguments: argparse.Namespace) -> socket.socket:
    if arguments.port is not None:
        return socket.create_server((arguments.host, arguments.port), backlog=_BACKLOG)
    before = os.umask(0o177)
    try:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(arguments.private))
    finally:
        os.umask(before)
    return listener


def _application(path: Path) -> ASGIApp:
    # XGBoost imports scikit-learn if it can, for estimators that the endpoint does not use. The import takes more than
    # a second of processor time and 127 MB of memory.
    sys.modules["sklearn"] = None  # type: ignore[assignment]
    service: Any = bentoml.load(str(path.absolute()))
    bentoml.server_context.service_name = service.name
    bentoml.server_context.bento_name = service.bento.tag.name
    bentoml.server_context.bento_version = service.bento.tag.version
    service.inject_config()
    factory: Any = ServiceAppFactory(service)
    # BentoML's timeout keeps a timer and its memory for a minute after each request. The timeout of Admission ends with
    # the request.
    factory.timeout = None
    return factory()  # type: ignore[no-any-return]  # BentoML has no types


if __name__ == "__main__":
    main()
