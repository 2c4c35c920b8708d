"""A server of a Bento on its port without a runner, and the state of a finished deployment."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from include.serving.deployment.client import EndpointClient
from include.serving.deployment.listener import bind_public
from include.serving.deployment.state import BentoReference, ServingState
from include.serving.deployment.worker_pool import Target, WorkerPool
from include.settings import Settings


def record_deployment(serving_dir: Path, bento: BentoReference) -> ServingState:
    """Record ``bento`` as the deployed one, as a successful rollout does."""
    state = ServingState(serving_dir)
    state.commit(state.begin(bento))
    return state


@contextmanager
def serving(
    bento: BentoReference, settings: Settings, log: Path, shadow: BentoReference | None = None
) -> Iterator[WorkerPool]:
    """Serve a Bento at the public address until the block ends.

    Args:
        bento: The Bento.
        settings: The server's settings.
        log: The file for the server's log.
        shadow: The Bento of a shadow model.
    """
    with (
        tempfile.TemporaryDirectory(prefix="churn-test-") as folder,
        log.open("wb") as output,
        bind_public(settings.serving) as public,
    ):
        home = settings.serving_dir / "live"
        pool = WorkerPool(Target(bento, shadow), Path(folder) / "server", home, settings, public, output)
        try:
            pool.start()
            while not pool.is_ready():
                time.sleep(0.05)
            pool.accept()
            EndpointClient(settings.serving.url).wait_for(bento.bento, 120)
            yield pool
        finally:
            pool.stop()
