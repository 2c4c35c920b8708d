"""Put a Bento in service, and put the former one back when that fails."""

from __future__ import annotations

from contextlib import suppress

from include.errors import ChurnflowError
from include.logs import get_logger
from include.serving.deployment.client import EndpointClient
from include.serving.deployment.outcome import wait_for_outcome
from include.serving.deployment.pointer import (
    CURRENT,
    SHADOW,
    BentoReference,
    Order,
    PointerError,
    read_order,
    read_pointer,
    write_pointer,
)
from include.serving.deployment.transaction import SupersededError, Transaction, served_bento
from include.serving.prediction_log.shadow import Shadow
from include.settings import Settings

log = get_logger(__name__)

# Connections with which a deployment looks at the public address after a change.
_LOOKS = 10


class RolloutError(ChurnflowError):
    """A Bento could not be put in service."""


def roll_out(candidate: BentoReference, settings: Settings) -> BentoReference:
    """Ask the runner for ``candidate``, wait until it serves, and look at the public address.

    A shadow whose model this is ends: it would be compared with itself. A Bento that serves already may be asked for
    again; when that fails, it stays the desired one.

    Returns:
        The Bento in service, which is ``candidate``.

    Raises:
        BundleError: The bundle inside is damaged; nothing has changed.
        RolloutError: It did not come into service; the former Bento is the desired one again, and the message says
            whether it answers.
        SupersededError: Another rollout has begun before this one ended.
        PointerError: The pointer could not be written; nothing has changed.
    """
    candidate.load_bundle()
    transaction = Transaction.begin(settings.serving_dir, candidate)
    try:
        _require_serving(transaction.order, CURRENT, settings)
        verify(candidate, settings)
        transaction.commit()
    except SupersededError:
        raise
    except ChurnflowError as error:
        transaction.undo()
        raise RolloutError(
            f"The Bento did not come into service ({error.what}) {_state_of(transaction.before.current, settings)}",
            where=f"Bento {candidate.bento}",
            remedy="Read the serving runner's log, then deploy again.",
        ) from error
    _end_shadow_of(candidate.model_version, settings)
    log.info("rolled out", extra={"bento": candidate.bento, "model_version": candidate.model_version})
    return candidate


def start_shadow(candidate: BentoReference, settings: Settings) -> BentoReference:
    """Let the model of ``candidate`` answer in the shadow of the one in service; nobody gets its answers.

    Returns:
        The Bento in the shadow, which is ``candidate``.

    Raises:
        RolloutError: Nothing is in service, or this model is; or answers are not logged; or the runner refused. Then
            there is no shadow.
        ShadowError: It needs features that the model in service is not asked with; nothing has changed.
        BundleError: A bundle is damaged; nothing has changed.
        PointerError: The pointer could not be written; nothing has changed.
    """
    served = served_bento(settings.serving_dir)
    if served is None or served.model_version == candidate.model_version:
        raise RolloutError(
            "This model serves already." if served else "No Bento serves whose shadow it could be.",
            where=f"Bento {candidate.bento}",
            remedy="Deploy the champion first, and choose another version for its shadow.",
        )
    if not settings.serving.log.enabled:
        raise RolloutError(
            "Answers are not logged, and a shadow only shows in their log.",
            where="CHURN_SERVING__LOG__ENABLED",
            remedy="Switch the log on.",
        )
    Shadow(candidate.load_bundle(), candidate.model_version, served.load_bundle().contract)
    order = write_pointer(settings.serving_dir, candidate, SHADOW)
    try:
        _require_serving(order, SHADOW, settings)
    except RolloutError:
        if read_order(settings.serving_dir, SHADOW) == order:
            write_pointer(settings.serving_dir, None, SHADOW)
        raise
    log.info("shadow started", extra={"bento": candidate.bento, "model_version": candidate.model_version})
    return candidate


def end_shadow(settings: Settings) -> BentoReference | None:
    """Let nothing answer in the shadow any more, and return what did."""
    shadow = read_pointer(settings.serving_dir, SHADOW)
    write_pointer(settings.serving_dir, None, SHADOW)
    return shadow


def verify(reference: BentoReference, settings: Settings) -> None:
    """Check that ``reference`` answers at the public address, on several connections.

    Raises:
        EndpointError: It does not.
    """
    client = EndpointClient(settings.serving.url, settings.serving.api_key)
    try:
        client.wait_for(reference.bento, settings.serving.ready_timeout_seconds)
        for _ in range(_LOOKS):
            client.wait_for(reference.bento, 0)
    finally:
        client.close()


def _end_shadow_of(model_version: str, settings: Settings) -> None:
    with suppress(PointerError):
        shadow = read_pointer(settings.serving_dir, SHADOW)
        if shadow is not None and shadow.model_version == model_version:
            end_shadow(settings)


def _require_serving(order: Order, name: str, settings: Settings) -> None:
    serving, directory = settings.serving, settings.serving_dir
    outcome = wait_for_outcome(directory, order, serving.ready_timeout_seconds, name)
    if outcome is not None and outcome.state == "starting":
        # The runner tries it without the shadow, too, and tells when the time of each is up: that is waited for.
        seconds = 2 * serving.ready_timeout_seconds + serving.overlap_seconds
        outcome = wait_for_outcome(directory, order, seconds, name)
    if outcome is not None and outcome.state == "serving":
        return
    if outcome is None:
        what = f"No runner has taken it up within {serving.ready_timeout_seconds:.0f} s."
    else:
        what = outcome.reason or "The runner has not brought it into service in time."
    raise RolloutError(
        what,
        where=str(settings.serving_dir / name),
        remedy="Read the log of the serving runner; see that it runs and has the same CHURN_HOME.",
    )


def _state_of(former: BentoReference | None, settings: Settings) -> str:
    if former is None:
        return "and none served before it."
    try:
        verify(former, settings)
    except ChurnflowError as error:
        log.error("former Bento does not answer", extra={"bento": former.bento})
        return f"and the former one, {former.bento}, does not answer either ({error.what})"
    return f"and the former one, {former.bento}, serves."
