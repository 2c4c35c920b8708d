"""Start a Bento aside and ask it what training has recorded."""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from include.logs import get_logger
from include.serving.deployment.generation import Generation, Target
from include.serving.deployment.pointer import BentoReference
from include.serving.deployment.process import end_processes_of
from include.serving.deployment.samples import bundled_samples
from include.settings import Settings

log = get_logger(__name__)

_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class SmokeResult:
    """What a smoke test saw.

    Attributes:
        rows: Samples asked.
        largest_difference: The largest distance between a probability answered and the one recorded.
    """

    rows: int
    largest_difference: float

    def as_dict(self) -> dict[str, float]:
        """Return the result as plain JSON types, fit for XCom."""
        return asdict(self)


def smoke_test(reference: BentoReference, settings: Settings) -> SmokeResult:
    """Serve a Bento where only this process can ask it, compare its answers with training's, and stop it.

    Raises:
        BundleError: The bundle inside is damaged.
        GenerationError: It did not start.
        EndpointError: It refused a sample, or did not answer.
        SamplesError: It answered otherwise than the model did in training.
    """
    home = settings.serving_dir / "staging"
    end_processes_of(home)  # what a smoke test that was killed has left
    # Nobody asked for these answers: they do not belong in the log.
    unlogged = settings.serving.log.model_copy(update={"enabled": False})
    serving = settings.serving.model_copy(update={"workers": 1, "log": unlogged})
    aside = settings.model_copy(update={"serving": serving})
    rows = len(bundled_samples(reference))
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="churn-smoke-") as folder, (home / "server.log").open("wb") as output:
        server = Generation(Target(reference), Path(folder) / "server", home, aside, output=output)
        try:
            server.start()
            while not server.is_ready():
                time.sleep(_POLL_SECONDS)
            result = SmokeResult(rows, server.verify())
        finally:
            server.stop()
    log.info("smoke test passed", extra={"bento": reference.bento, **result.as_dict()})
    return result
