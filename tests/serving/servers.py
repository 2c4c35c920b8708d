"""A server of a Bento for tests: on its port, without a runner."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from include.serving.deployment.client import EndpointClient
from include.serving.deployment.generation import Generation, Target
from include.serving.deployment.listener import bind_public
from include.serving.deployment.pointer import BentoReference
from include.settings import Settings


@contextmanager
def serving(
    bento: BentoReference, settings: Settings, log: Path, shadow: BentoReference | None = None
) -> Iterator[Generation]:
    """Let a Bento answer at the public address until the block ends; the server's log goes to ``log``."""
    with (
        tempfile.TemporaryDirectory(prefix="churn-test-") as folder,
        log.open("wb") as output,
        bind_public(settings.serving) as public,
    ):
        home = settings.serving_dir / "live"
        generation = Generation(Target(bento, shadow), Path(folder) / "server", home, settings, public, output)
        try:
            generation.start()
            while not generation.is_ready():
                time.sleep(0.05)
            generation.accept()
            EndpointClient(settings.serving.url).wait_for(bento.bento, 30)
            yield generation
        finally:
            generation.stop()
