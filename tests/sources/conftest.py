from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from include.lake import Lake
from include.projects import Project, Source
from tests.world import grocery


def project_of(**sources: Source) -> Project:
    """Return a project with only these sources."""
    return grocery().model_copy(update={"sources": sources, "checks": {}})


def source(**overrides: Any) -> Source:
    """Return a source of payments with parts of its configuration replaced."""
    payments = {
        "description": "One payment.",
        "owner": "billing",
        "kind": "events",
        "files": {"format": "csv", "path": "payments/{day}.csv"},
        "key": ["payment_id"],
        "event_time": "paid_at",
        "columns": {
            "payment_id": {"type": "integer", "required": True},
            "paid_at": {"type": "timestamp", "required": True},
            "amount": {"type": "decimal"},
            "note": {"type": "string"},
        },
    }
    return Source.model_validate(payments | overrides)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Limit the size of files written by this process, in bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """The address of an S3 bucket of a local server."""
    import fsspec
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in [name for name in os.environ if name.lower() in ("http_proxy", "https_proxy", "all_proxy")]:
            patch.delenv(name)
        fsspec.url_to_fs("s3://")[0].mkdir("deliveries")
        yield "s3://deliveries"
    server.stop()
