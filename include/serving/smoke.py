"""Start a Bento aside and ask it what training has recorded."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from include.errors import ChurnflowError
from include.logs import get_logger
from include.serving.client import EndpointClient
from include.serving.pointer import BentoReference
from include.serving.process import BentoServer
from include.settings import Settings
from include.training.bundle import Bundle, Sample

log = get_logger(__name__)

TOLERANCE = 1e-6


class SmokeTestError(ChurnflowError):
    """A Bento does not answer as the model did in training."""


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


def bundled_samples(reference: BentoReference) -> tuple[Sample, ...]:
    """Return the samples inside a Bento.

    Raises:
        BundleError: The bundle inside is damaged.
        SmokeTestError: Training recorded no samples.
    """
    samples = Bundle.load(Path(reference.path) / "src" / "bundle").samples
    if not samples:
        raise SmokeTestError(
            "The bundle holds no samples to compare with.",
            where=f"Bento {reference.bento}",
            remedy="Let training record some rows in samples.json.",
        )
    return samples


def compare(client: EndpointClient, reference: BentoReference, samples: tuple[Sample, ...]) -> SmokeResult:
    """Ask an endpoint for ``samples`` and compare its answers with the recorded ones.

    Raises:
        EndpointError: It refused or did not answer.
        SmokeTestError: A probability differs by more than ``TOLERANCE``, or another model answered.
    """
    largest = 0.0
    for position, sample in enumerate(samples):
        answer = client.predict(f"sample-{position}", sample.features)
        difference = abs(answer["churn_probability"] - sample.churn_probability)
        largest = max(largest, difference)
        if difference > TOLERANCE or answer["model_version"] != reference.model_version:
            raise SmokeTestError(
                f"Sample {position}: model version {answer['model_version']} answered with a probability that is "
                f"{difference:.2g} away from the recorded one.",
                where=f"Bento {reference.bento}",
                remedy="Compare the library versions of training and serving, then train again.",
            )
    return SmokeResult(rows=len(samples), largest_difference=largest)


def smoke_test(reference: BentoReference, settings: Settings) -> SmokeResult:
    """Serve a Bento on the staging port, compare its answers with training's, and stop it.

    Raises:
        EndpointError: It did not start, refused a sample, or did not answer.
        SmokeTestError: It answered otherwise than the model did in training.
    """
    samples = bundled_samples(reference)
    # Where the endpoint itself is elsewhere, the server aside still runs on this machine.
    serving = settings.serving.model_copy(update={"host": "127.0.0.1"})
    client = EndpointClient(f"http://{serving.host}:{serving.staging_port}")
    home = settings.serving_dir / "staging"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "server.log").open("wb") as output:
        server = BentoServer(Path(reference.path), home, serving.staging_port, serving, output)
        try:
            client.wait_for(reference.bento, serving.ready_timeout_seconds, lambda: server.exit_code is None)
            result = compare(client, reference, samples)
        finally:
            client.close()
            server.stop()
    log.info("smoke test passed", extra={"bento": reference.bento, **result.as_dict()})
    return result
