"""Put a Bento in service, and put the former one back when that fails."""

from __future__ import annotations

from include.errors import ChurnflowError
from include.logs import get_logger
from include.serving.client import EndpointClient
from include.serving.pointer import CURRENT, PREVIOUS, BentoReference, read_pointer, write_pointer
from include.serving.smoke import bundled_samples, compare
from include.settings import Settings

log = get_logger(__name__)


class RolloutError(ChurnflowError):
    """A Bento could not be put in service."""


def roll_out(candidate: BentoReference, settings: Settings) -> BentoReference:
    """Point serving to ``candidate``, wait until it answers, and verify one prediction.

    Returns:
        The Bento in service, which is ``candidate``.

    Raises:
        RolloutError: It did not come into service; the former Bento is the desired one again, and the message says
            whether it answers.
    """
    current, older = (read_pointer(settings.serving_dir, name) for name in (CURRENT, PREVIOUS))
    # A rollout that was killed half-way has moved both pointers already.
    former, kept = (older, None) if current == candidate else (current, older)
    write_pointer(settings.serving_dir, former, PREVIOUS)
    write_pointer(settings.serving_dir, candidate, CURRENT)
    try:
        verify(candidate, settings)
    except ChurnflowError as error:
        write_pointer(settings.serving_dir, former, CURRENT)
        write_pointer(settings.serving_dir, kept, PREVIOUS)
        raise RolloutError(
            f"The Bento did not come into service ({error.what}) {_state_of(former, settings)}",
            where=f"Bento {candidate.bento}",
            remedy="Read the serving runner's log, then deploy again.",
        ) from error
    log.info("rolled out", extra={"bento": candidate.bento, "model_version": candidate.model_version})
    return candidate


def roll_back(settings: Settings) -> BentoReference:
    """Put the Bento that served before the current one back in service; twice brings the current one back.

    Raises:
        RolloutError: There is no former Bento, or it did not come into service.
    """
    former = read_pointer(settings.serving_dir, PREVIOUS)
    if former is None:
        raise RolloutError(
            "No Bento has served before the current one.",
            where=str(settings.serving_dir / PREVIOUS),
            remedy="Deploy the version that you want by its number.",
        )
    return roll_out(former, settings)


def verify(reference: BentoReference, settings: Settings) -> None:
    """Wait until the endpoint serves ``reference`` and answers one recorded sample as training did.

    Raises:
        EndpointError: It does not serve that Bento in time, or refused.
        SmokeTestError: It answered otherwise than the model did in training.
    """
    client = EndpointClient(settings.serving.url)
    try:
        samples = bundled_samples(reference)
        client.wait_for(reference.bento, settings.serving.ready_timeout_seconds)
        compare(client, reference, samples[:1])
    finally:
        client.close()


def _state_of(former: BentoReference | None, settings: Settings) -> str:
    if former is None:
        return "and none served before it."
    try:
        verify(former, settings)
    except ChurnflowError as error:
        log.error("former Bento does not answer", extra={"bento": former.bento})
        return f"and the former one, {former.bento}, does not answer either ({error.what})"
    return f"and the former one, {former.bento}, serves again."
