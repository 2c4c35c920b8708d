"""Roll a Bento out, and return to the former Bento if the rollout fails."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from include.errors import ChurnflowError
from include.logs import get_logger
from include.provenance.check import require_bento
from include.serving.deployment.client import EndpointClient
from include.serving.deployment.kubernetes_client import ClusterError
from include.serving.deployment.pods import Pods
from include.serving.deployment.state import (
    BentoReference,
    Revision,
    ServingState,
    ServingStateError,
    SupersededError,
    open_state,
)
from include.serving.prediction_log.shadow import Shadow
from include.settings import Settings

log = get_logger(__name__)

# The number of connections that verify the public address after a change.
_CONNECTIONS = 10


class RolloutError(ChurnflowError):
    """A rollout is not possible, or failed with an error that a retry cannot fix; the former Bento is desired again."""


class NotInServiceError(RolloutError):
    """A Bento did not come into service; the former Bento is the desired Bento again."""

    can_retry = True


def roll_out(
    candidate: BentoReference,
    settings: Settings,
    requested: dt.datetime | None = None,
    replaces: str | None = None,
) -> BentoReference:
    """Make ``candidate`` the desired Bento, wait until the runner or the pods serve it, and verify the public address.

    If the candidate's model is the shadow, the shadow ends. A Bento that already serves may be rolled out again; if
    that rollout fails, the Bento stays the desired Bento.

    Args:
        candidate: The Bento.
        settings: The deployment.
        requested: The time at which the rollout was requested; now by default.
        replaces: The model version that must be in service before the rollout; None allows any version.

    Returns:
        The Bento in service, which is ``candidate``.

    Raises:
        ProvenanceError: A file of the Bento or its image differs from its provenance, or the provenance is missing or
            not trusted; nothing has changed.
        BundleError: The bundle in the Bento is damaged; nothing has changed.
        RolloutError: The candidate did not come into service. The former Bento is the desired Bento again, and the
            message states whether the former Bento answers.
        SupersededError: Another rollout has begun before this rollout ended, a rollout that was requested later has
            begun before it, or another version than ``replaces`` is in service.
        ServingStateError: The state could not be written; nothing has changed.
    """
    in_pods = settings.serving.backend == "kubernetes"
    # Pods contain their Bento, and it may be on the disk of another worker.
    if not in_pods or Path(candidate.path).is_dir():
        require_bento(Path(candidate.path), candidate.project, candidate.model_version, settings.provenance.public_key)
        candidate.load_bundle()
    state = open_state(settings)
    pods = Pods(candidate, state, settings) if in_pods else None
    revision = state.begin(candidate, requested=requested, replaces=replaces)
    try:
        if pods is not None:
            pods.replace()
        else:
            _require_serving(state, revision, settings)
        verify(candidate, settings)
        state.commit(revision)
    except SupersededError:
        raise
    except ChurnflowError as error:
        kind = NotInServiceError if error.can_retry else RolloutError
        raise kind(
            f"The Bento did not come into service. {error.what} {_return_to_former(state, revision, pods, settings)}",
            where=f"Bento {candidate.bento}",
            remedy=f"Read the log of the {'pods' if pods else 'serving runner'}, then deploy again.",
        ) from error
    shadow = state.desired("shadow")
    if shadow is not None and shadow.bento.model_version == candidate.model_version:
        state.end_shadow()
    log.info("rolled out", extra={"bento": candidate.bento, "model_version": candidate.model_version})
    return candidate


def start_shadow(candidate: BentoReference, settings: Settings) -> BentoReference:
    """Make the model of ``candidate`` the shadow of the model in service; its predictions are only logged.

    Args:
        candidate: The Bento of the shadow.
        settings: The deployment.

    Returns:
        The Bento of the shadow, which is ``candidate``.

    Raises:
        RolloutError: No model is in service, the model in service is the candidate's, or predictions are not logged:
            nothing has changed.
        NotInServiceError: The runner could not start the shadow; there is no shadow.
        ShadowError: The shadow needs features that the model in service does not have; nothing has changed.
        BundleError: A bundle is damaged; nothing has changed.
        SupersededError: Another shadow was started before this shadow ran.
        ServingStateError: The state could not be written; nothing has changed.
    """
    state = open_state(settings)
    served = state.served()
    if served is None or served.model_version == candidate.model_version:
        raise RolloutError(
            "This model already serves." if served else "No Bento serves, so there can be no shadow.",
            where=f"Bento {candidate.bento}",
            remedy="Deploy the champion first, and choose another version for its shadow.",
        )
    if not settings.serving.log.enabled:
        raise RolloutError(
            "Predictions are not logged, and the predictions of a shadow appear only in the log.",
            where="CHURN_SERVING__LOG__ENABLED",
            remedy="Enable the prediction log.",
        )
    Shadow(candidate.load_bundle(), candidate.model_version, served.load_bundle().contract)
    revision = state.begin(candidate, "shadow")
    try:
        _require_serving(state, revision, settings)
    except RolloutError:
        state.undo(revision)
        raise
    log.info("shadow started", extra={"bento": candidate.bento, "model_version": candidate.model_version})
    return candidate


def end_shadow(settings: Settings) -> BentoReference | None:
    """End the shadow, and return its Bento; None without a shadow."""
    return open_state(settings).end_shadow()


def verify(reference: BentoReference, settings: Settings) -> None:
    """Check that ``reference`` answers at the public address, on several connections.

    Args:
        reference: The Bento that should answer.
        settings: The deployment.

    Raises:
        EndpointError: Another Bento answers, or the endpoint does not answer.
    """
    client = EndpointClient(settings.serving.url, settings.serving.api_key)
    try:
        client.wait_for(reference.bento, settings.serving.ready_timeout_seconds)
        for _ in range(_CONNECTIONS):
            client.wait_for(reference.bento, 0)
    finally:
        client.close()


def _require_serving(state: ServingState, revision: Revision, settings: Settings) -> None:
    serving = settings.serving
    status = state.wait_for(revision, serving.ready_timeout_seconds)
    if status is not None and status.phase == "starting":
        # The runner tries the Bento with its shadow, then without it, and applies the time limit to each attempt.
        status = state.wait_for(revision, 2 * serving.ready_timeout_seconds + serving.overlap_seconds)
    if status is not None and status.phase == "serving":
        return
    if status is None:
        what = f"No runner has started the Bento within {serving.ready_timeout_seconds:.0f} s."
    else:
        what = status.reason or "The runner has not brought the Bento into service in time."
    raise NotInServiceError(
        what,
        where=str(settings.serving_dir),
        remedy="Check that the serving runner runs and has the same CHURN_HOME, and read its log.",
    )


def _return_to_former(state: ServingState, revision: Revision, pods: Pods | None, settings: Settings) -> str:
    """Undo a rollout, and return a sentence about the former Bento; another rollout that has begun is not changed."""
    try:
        state.undo(revision)
        if pods is not None:
            pods.restore()
        return _describe_former(state.desired(), settings)
    except (ServingStateError, ClusterError) as error:
        log.error("rollout not undone", extra={"bento": revision.bento.bento, "error": str(error)})
        return f"The former Bento was not restored, which the next rollout does if it fails: {error.what}"


def _describe_former(former: Revision | None, settings: Settings) -> str:
    if former is None:
        return "No Bento served before."
    bento = former.bento.bento
    try:
        verify(former.bento, settings)
    except ChurnflowError as error:
        log.error("former Bento does not answer", extra={"bento": bento})
        return f"The former Bento {bento} does not answer either. {error.what}"
    return f"The former Bento {bento} serves."
