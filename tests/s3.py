"""An S3 server for tests. It is a process: a server in a thread and Delta would wait for each other."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import fsspec
import pytest

_UNCONDITIONAL = """
from moto import server

class Unconditional(server.DomainDispatcherApplication):
    def __call__(self, environ, start_response):
        environ.pop("HTTP_IF_NONE_MATCH", None)
        return super().__call__(environ, start_response)

server.DomainDispatcherApplication = Unconditional
server.main()
"""


@contextmanager
def s3_server(bucket: str, *, conditional_writes: bool = True) -> Iterator[str]:
    """Serve an empty bucket, point the environment to it, and yield the address of the bucket.

    Args:
        bucket: The name of the bucket.
        conditional_writes: Whether the server obeys the condition that a file does not exist.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = ["-m", "moto.server"] if conditional_writes else ["-c", _UNCONDITIONAL]
    server = subprocess.Popen([sys.executable, *program, "-H", "127.0.0.1", "-p", str(port)])
    store = fsspec.get_filesystem_class("s3")
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.lower() in ("http_proxy", "https_proxy", "all_proxy")]:
                patch.delenv(name)
            patch.setenv("AWS_ACCESS_KEY_ID", "test")
            patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
            patch.setenv("AWS_REGION", "us-east-1")
            patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
            patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
            patch.setenv("AWS_ALLOW_HTTP", "true")
            _wait_until_listening(server, port)
            store.clear_instance_cache()  # a cached file system uses the address of an earlier server
            fsspec.filesystem("s3").mkdir(bucket)
            yield f"s3://{bucket}"
    finally:
        store.clear_instance_cache()
        server.kill()
        server.wait()


def _wait_until_listening(server: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"the S3 server did not listen on port {port} within 60 s; exit code: {server.poll()}")
