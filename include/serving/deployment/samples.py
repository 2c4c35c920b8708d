"""The customers whose probabilities training has recorded: what a server must answer for them."""

from __future__ import annotations

from include.errors import ChurnflowError
from include.serving.deployment.client import EndpointClient
from include.serving.deployment.pointer import BentoReference
from include.training.model.bundle import Sample, predictions_match


class SamplesError(ChurnflowError):
    """A Bento does not answer as the model did in training."""


def bundled_samples(reference: BentoReference) -> tuple[Sample, ...]:
    """Return the samples inside a Bento.

    Raises:
        BundleError: The bundle inside is damaged.
        SamplesError: Training recorded no samples.
    """
    samples = reference.load_bundle().samples
    if not samples:
        raise SamplesError(
            "The bundle holds no samples to compare with.",
            where=f"Bento {reference.bento}",
            remedy="Let training record some rows in samples.json.",
        )
    return samples


def compare(client: EndpointClient, reference: BentoReference, samples: tuple[Sample, ...]) -> float:
    """Ask for ``samples`` and compare the answers with the recorded ones.

    Returns:
        The largest distance between a probability answered and the one recorded.

    Raises:
        EndpointError: It refused or did not answer.
        SamplesError: A probability differs by more than ``PREDICTION_TOLERANCE``, or another model answered.
    """
    largest = 0.0
    for position, sample in enumerate(samples):
        answer = client.predict(f"sample-{position}", sample.features)
        difference = abs(answer["churn_probability"] - sample.churn_probability)
        largest = max(largest, difference)
        if (
            not predictions_match(answer["churn_probability"], sample.churn_probability)
            or answer["model_version"] != reference.model_version
        ):
            raise SamplesError(
                f"Sample {position}: model version {answer['model_version']} answered with a probability that is "
                f"{difference:.2g} away from the recorded one.",
                where=f"Bento {reference.bento}",
                remedy="Compare the library versions of training and serving, then train again.",
            )
    return largest
