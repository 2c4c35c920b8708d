"""The steps of a deployment, which the DAGs call. Arguments and results are versions and plain dictionaries."""

from __future__ import annotations

import datetime as dt
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from mlflow.exceptions import MlflowException

from include.lake import open_lake
from include.lake.table_names import FEATURES_TABLE
from include.logs import get_logger
from include.serving.deployment import rollout
from include.serving.deployment.bento_store import find_bento, prune_bentos
from include.serving.deployment.client import bundled_samples
from include.serving.deployment.package import package
from include.serving.deployment.pods import released
from include.serving.deployment.rollout import RolloutError
from include.serving.deployment.server_process import end_processes_of
from include.serving.deployment.state import BentoReference, Role, SupersededError, open_state
from include.serving.deployment.worker_pool import Target, WorkerPool
from include.settings import Settings
from include.training.evaluation.leakage import LEAKAGE_FILE, require_no_leakage
from include.training.release.registry import Registry, registry_error

log = get_logger(__name__)

_POLL_SECONDS = 0.1


def resolve(model_version: str | None, role: Role, settings: Settings) -> str:
    """Return the model version to deploy.

    Args:
        model_version: The version; None selects the champion for ``serve`` and the challenger for ``shadow``.
        role: Whether the model answers, or is the shadow.
        settings: The deployment.

    Raises:
        RegistryError: The registry does not answer, or has no such version.
        LeakageError: The version to serve has a suspected leak, or was not checked for leaks.
        RolloutError: There is no shadow in the pods of a cluster.
    """
    if role == "shadow" and settings.serving.backend == "kubernetes":
        raise RolloutError(
            "There is no shadow on Kubernetes.",
            where="CHURN_SERVING__BACKEND",
            remedy="Deploy the version with the role serve, or run the shadow on the backend runner.",
        )
    registry = Registry(settings)
    try:
        version = model_version or registry.require("champion" if role == "serve" else "challenger")
    except MlflowException as error:
        raise registry_error(
            "The registry does not answer",
            where=settings.mlflow.tracking_uri,
            remedy="Check that the tracking server runs, then deploy again. The endpoint is unchanged.",
            error=error,
        ) from error
    if role == "serve":
        _require_no_leakage(registry, version)
    return version


def build(model_version: str, settings: Settings) -> dict[str, str]:
    """Build the Bento of a registered model version as ``package`` does.

    Args:
        model_version: The version.
        settings: The deployment.

    Returns:
        The Bento as a dictionary with the keys ``bento``, ``model_version``, ``path`` and ``project``, for the other
        steps. On Kubernetes, ``bento`` is the Bento in the version's image.

    Raises:
        ClusterError: The pods need an image of the version, and it was not released.
    """
    built = package(model_version, settings)
    if settings.serving.backend == "kubernetes":
        built = replace(built, bento=released(model_version, settings).bento)
    return built.as_dict()


def smoke(bento: dict[str, str], settings: Settings) -> dict[str, float]:
    """Start one server process of the Bento, compare its predictions with the samples, and stop the process.

    The process has only a private socket, and does not log predictions.

    Args:
        bento: The reference that ``build`` returned.
        settings: The deployment.

    Returns:
        ``rows``: the number of samples. ``largest_difference``: the largest absolute difference between a predicted
        and a recorded probability.

    Raises:
        BundleError: The bundle in the Bento is damaged.
        WorkerPoolError: The process did not start.
        EndpointError: The process answered a sample with an error, or did not answer.
        SamplesError: A prediction differs from the recorded prediction, or training recorded none.
    """
    reference = BentoReference(**bento)
    home = settings.serving_dir / "staging"
    end_processes_of(home)  # a smoke test that was killed leaves its process behind
    unlogged = settings.serving.log.model_copy(update={"enabled": False})
    serving = settings.serving.model_copy(update={"workers": 1, "log": unlogged})
    staging = settings.model_copy(update={"serving": serving})
    rows = len(bundled_samples(reference.load_bundle()))
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="churn-smoke-") as folder, (home / "server.log").open("wb") as output:
        pool = WorkerPool(Target(reference), Path(folder) / "server", home, staging, output=output)
        try:
            pool.start()
            while not pool.is_ready():
                time.sleep(_POLL_SECONDS)
            result = {"rows": rows, "largest_difference": pool.verify()}
        finally:
            pool.stop()
    log.info("smoke test passed", extra={"bento": reference.bento, **result})
    return result


def roll_out(bento: dict[str, str], requested: dt.datetime, settings: Settings) -> dict[str, str]:
    """Put the Bento in service, and delete old Bentos; see ``rollout.roll_out``.

    Args:
        bento: The reference that ``build`` returned.
        requested: The time at which the deployment was triggered. A rollback that was triggered later stays in
            effect.
        settings: The deployment.
    """
    served = rollout.roll_out(BentoReference(**bento), settings, requested)
    prune_bentos(settings)
    return served.as_dict()


def start_shadow(bento: dict[str, str], settings: Settings) -> dict[str, str]:
    """Make the Bento's model the shadow of the model in service; see ``rollout.start_shadow``.

    Args:
        bento: The reference that ``build`` returned.
        settings: The deployment.
    """
    return rollout.start_shadow(BentoReference(**bento), settings).as_dict()


def roll_back(
    model_version: str | None, settings: Settings, requested: dt.datetime | None = None, from_version: str | None = None
) -> dict[str, str]:
    """Put the former version or a given version in service; build its Bento if none is on this disk.

    A rollback without a version to serve replaces the version that served when it was triggered. If two rollbacks were
    triggered at the same time, the second therefore changes nothing, since its target already serves.

    The former version was checked for leaks before it came into service. Any other version is checked now.

    Args:
        model_version: The version; None selects the version that served before the current version.
        settings: The deployment.
        requested: The time at which the rollback was triggered; now by default.
        from_version: The version to replace. If it is None, and ``model_version`` is also None, the version that served
            at the time ``requested`` is replaced; if only ``from_version`` is None, any version is replaced.

    Raises:
        SupersededError: The version to replace no longer serves; nothing has changed.
        RolloutError: No version served before ``from_version``, or the version did not come into service. The
            current version still serves.
        RegistryError: The version is not the former version, and the registry does not contain it or does not answer.
        LeakageError: The version has a suspected leak, or was not checked for leaks; nothing has changed.
    """
    requested = requested or dt.datetime.now(dt.UTC)
    state = open_state(settings)
    left = state.newest_of(from_version) if from_version else state.served_at(requested)
    former = state.before(left) if left else None
    version = model_version or (former.model_version if former else None)
    if version is None:
        raise RolloutError(
            "No Bento has served before the current Bento.",
            where=str(settings.serving_dir),
            remedy="Name the version to serve.",
        )
    served = state.served()
    if left is not None and served is not None and served.model_version == version != left.bento.model_version:
        log.info("already rolled back", extra={"model_version": version, "from_version": left.bento.model_version})
        return served.as_dict()
    in_pods = settings.serving.backend == "kubernetes"
    if former is not None and former.model_version == version and (in_pods or former.bundle.is_dir()):
        target = former
    else:
        _require_no_leakage(Registry(settings), version)
        found = None if in_pods else find_bento(version, settings.serving_dir)
        target = found or BentoReference(**build(version, settings))
    replaces = from_version if model_version or left is None else left.bento.model_version
    return rollout.roll_out(target, settings, requested, replaces).as_dict()


def day_to_score(day: dt.date | None, settings: Settings) -> dt.date:
    """Return the day whose customers are scored after a deployment, before anything changes.

    Args:
        day: The day; None selects the newest day in gold.
        settings: The lake.

    Raises:
        RolloutError: Gold does not contain the day, or is empty.
    """
    days = open_lake(settings).table(FEATURES_TABLE).days()
    if not days or (day is not None and day not in days):
        raise RolloutError(
            f"Gold has no rows of {day}." if days else "Gold has no rows yet.",
            where=FEATURES_TABLE,
            remedy="Run churn_ingest for the day first, or select a day in gold. The endpoint is unchanged.",
        )
    return day or max(days)


def restore_alias(model_version: str, settings: Settings) -> str:
    """Set the registry's alias ``champion`` to the version that serves after a rollback.

    Args:
        model_version: The version that serves.
        settings: The deployment.

    Raises:
        SupersededError: Another version serves now; the alias is unchanged.
        RegistryError: The registry does not answer. The endpoint stays rolled back; this step can be repeated alone.
    """
    served = open_state(settings).served()
    if served is not None and served.model_version != model_version:
        raise SupersededError(
            f"The endpoint now serves version {served.model_version} instead of version {model_version}.",
            where=f"alias champion at {settings.mlflow.tracking_uri}",
            remedy="Roll back again if the earlier version should serve; the alias is unchanged.",
        )
    try:
        Registry(settings).restore_champion(model_version)
    except MlflowException as error:
        raise registry_error(
            f"The endpoint serves version {model_version}, but the registry's alias is unchanged",
            where=settings.mlflow.tracking_uri,
            remedy="Check that the tracking server runs, then clear this task.",
            error=error,
        ) from error
    return model_version


def _require_no_leakage(registry: Registry, version: str) -> None:
    require_no_leakage(registry.document(version, LEAKAGE_FILE), f"{registry.name} version {version}")
