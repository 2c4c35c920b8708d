from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from include.lake import Lake
from include.projects import Project, Source
from tests.s3 import s3_server
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


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The address of an S3 bucket of a local server."""
    with s3_server("deliveries") as address:
        yield address
