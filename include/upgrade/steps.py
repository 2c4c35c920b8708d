"""The steps of an upgrade from release 0.1.0.

Bronze is the source of all tables that can be computed, so they are built again. The format of the tables is set last:
until then all commands refuse the lake, and an interrupted upgrade repeats its steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from include.days import DayRange
from include.features.labels import build_labels
from include.ingest import refine
from include.lake import Lake, open_lake
from include.lake.table_names import DELIVERIES_TABLE, FEATURES_TABLE
from include.plurals import counted
from include.projects import Project
from include.serving.deployment.former_state import former_versions
from include.serving.deployment.package import build_bento
from include.serving.deployment.provenance import fetch
from include.serving.deployment.state import FILE, ServingState
from include.serving.online_store import open_store
from include.settings import Settings
from include.training.data.rows import Rows
from include.training.evaluation.reference import make_profile
from include.training.model.bundle import Bundle
from include.upgrade.predictions import collect_parts, find_parts


@dataclass(frozen=True)
class Step:
    """A step of an upgrade.

    Attributes:
        what: What it changes, and why, in one line.
        run: Takes the step; a repetition gives the same result.
    """

    what: str
    run: Callable[[], None]


def pending_steps(settings: Settings, project: Project) -> list[Step]:
    """Return the steps that the deployment needs, in their order; none if this release wrote its tables.

    Args:
        settings: The deployment.
        project: Its project.

    Raises:
        StoreError: The online store cannot be read.
        FormerStateError: A file of the former serving state is damaged.
    """
    lake = open_lake(settings, any_format=True)
    old = [name for name in lake.table_names() if not lake.table(name).has_format()]
    if not old:
        return []
    steps = []
    if days := lake.table(DELIVERIES_TABLE).days():
        loaded = DayRange(days[0], days[-1])
        steps.append(
            Step(
                f"silver, quarantine, gold/features and gold/labels: values and definitions have changed -> built again"
                f" from bronze, {loaded.first} to {loaded.last}",
                lambda: _rebuild(settings, project, lake, loaded),
            )
        )
    if parts := find_parts(settings):
        steps.append(
            Step(
                f"prediction log: {counted(len(parts), 'file')} of the former format -> added to gold/predictions,"
                " unless they are there, then deleted",
                lambda: collect_parts(parts, lake),
            )
        )
    if (store := open_store(settings)) is not None and (store.is_outdated() or lake.table(FEATURES_TABLE).days()):
        steps.append(
            Step(
                "online store: the format of its rows has changed -> deleted, and filled with the newest day of gold",
                lambda: _fill_store(settings, lake),
            )
        )
    if versions := _versions_to_deploy(settings):
        names = counted(len(versions), "Bento")
        steps.append(
            Step(
                f"serving state: JSON files became {FILE} -> {names} built from the registry with the code of this"
                f" release, the serving version {versions[-1]} last; reference profiles computed from gold",
                lambda: _deploy(settings, project, lake),
            )
        )
    steps.append(
        Step(
            f"{counted(len(old), 'table')} of the lake: without format and properties -> set; all other rows of bronze,"
            " gold/scores and gold/predictions are unchanged",
            lambda: _set_formats(lake, old),
        )
    )
    return steps


def _rebuild(settings: Settings, project: Project, lake: Lake, days: DayRange) -> None:
    refine(project, lake, days, settings.reports_dir / "quality")
    build_labels(project, lake, days)


def _fill_store(settings: Settings, lake: Lake) -> None:
    store, days = open_store(settings), lake.table(FEATURES_TABLE).days()
    if store is None:
        return
    if store.is_outdated():
        store.clear()
    if days:
        store.put_day(days[-1], lake.table(FEATURES_TABLE).read(days[-1:]))


def _versions_to_deploy(settings: Settings) -> list[str]:
    versions = former_versions(settings.serving_dir) if settings.serving.backend == "runner" else []
    if not (settings.serving_dir / FILE).exists():
        return versions
    state = ServingState(settings.serving_dir)
    return [version for version in versions if state.newest_of(version) is None]


def _deploy(settings: Settings, project: Project, lake: Lake) -> None:
    state = ServingState(settings.serving_dir)
    for version in _versions_to_deploy(settings):
        model = fetch(version, settings)
        if not model.bundle.profile:
            model = replace(model, bundle=_with_profile(project, lake, model.bundle))
        bento = build_bento(model, version, settings.serving_dir, settings.provenance.signing_key)
        state.commit(state.begin(bento))


def _with_profile(project: Project, lake: Lake, bundle: Bundle) -> Bundle:
    """Return a bundle with the reference profile that a training of this release would have stored in it.

    The probabilities are those of the model for its own training rows, since out-of-fold probabilities are not stored;
    the profile of the score is therefore narrower.
    """
    contract, table = bundle.contract, lake.table(FEATURES_TABLE)
    days = [day for day in table.days() if day <= contract.trained_through and project.is_snapshot_day(day)]
    if not days or not set(contract.feature_names) <= set(table.schema().names):
        return bundle
    found = table.read(days)
    features = found.select(contract.feature_names)
    matrix = contract.encode(features)
    rows = Rows(
        days=found["dt"].to_numpy().astype("datetime64[D]"),
        customers=found["customer_id"],
        features=features,
        matrix=matrix,
        churned=np.zeros(len(matrix), dtype=np.int8),  # a profile contains no labels
    )
    profile = make_profile(project, rows, bundle, bundle.predict_matrix(matrix))
    return replace(bundle, profile=profile.model_dump_json().encode())


def _set_formats(lake: Lake, names: list[str]) -> None:
    for name in names:
        lake.table(name).set_format()
