"""The Bentos on this disk, and the models of a cluster whose Bentos were built on another machine."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from include.days import DayRange
from include.lake import open_lake
from include.lake.table_names import FEATURES_TABLE, SCORES_TABLE
from include.monitoring.health import served_model
from include.provenance.statement import ProvenanceError
from include.retention.retention_list import retention_list, score_day
from include.serving.deployment.bento_store import find_bento, load_model, prune_bentos
from include.serving.deployment.state import BentoReference, open_state
from include.settings import ServingSettings, Settings
from include.training.model.bundle import Bundle
from tests.kubernetes.deployment import SimulatedDeployment
from tests.serving.conftest import DAY, gold_rows
from tests.serving.deployment.released import flip, in_pods, register, signing_settings
from tests.serving.servers import record_deployment


def test_old_bentos_are_deleted_except_those_in_use(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, project="mine", serving=ServingSettings(kept_bentos=2))
    home = settings.serving_dir
    folders = [home / "bentos" / "bentos" / "churn" / f"{number}-x" for number in range(1, 8)]
    for built_at, folder in enumerate(folders):
        folder.mkdir(parents=True)
        (folder / "bento.yaml").touch()
        os.utime(folder / "bento.yaml", (built_at, built_at))
    shadow, previous, current = (BentoReference(f"{n}-x", str(n), str(folders[n - 1]), "mine") for n in (1, 2, 3))
    record_deployment(home, previous)
    record_deployment(home, current).begin(shadow, "shadow")
    assert prune_bentos(settings) == ["4-x", "5-x"]
    assert sorted(path.name for path in folders[0].parent.iterdir()) == ["1-x", "2-x", "3-x", "6-x", "7-x"]
    assert find_bento("6", home) == BentoReference("6-x", "6", str(folders[5]), "mine")
    assert find_bento("5", home) is None


@pytest.fixture
def released(cluster: SimulatedDeployment, bundle: Bundle, tmp_path: Path) -> Settings:
    """The settings of a worker without Bentos, after a release on another machine has deployed version 1."""
    settings = signing_settings(tmp_path, "grocery")
    contract = bundle.contract.model_copy(update={"project": "grocery"})
    version = register(replace(bundle, contract=contract), settings)
    settings = in_pods(settings, cluster.port)
    state = open_state(settings)
    state.commit(state.begin(BentoReference("1-x", version, "/home/runner/bentos/1-x", "grocery")))
    return settings


@pytest.mark.slow
def test_list_has_the_scores_of_the_model_in_the_pods(released: Settings, bundle: Bundle) -> None:
    lake, gold = open_lake(released), gold_rows(50)
    lake.table(FEATURES_TABLE).replace(DayRange.single(DAY), gold)
    assert served_model(released).trained_through is None  # type: ignore[union-attr]
    score_day(DAY, released)
    written = lake.table(SCORES_TABLE).read(DayRange.single(DAY)).sort_by("rank")
    expected = retention_list(DAY, gold, bundle, "1", released.serving.reasons_for)
    for column in ("customer_id", "churn_probability", "model_version"):
        assert written[column].to_pylist() == expected[column].to_pylist()
    assert served_model(released).trained_through == bundle.contract.trained_through  # type: ignore[union-attr]
    shutil.rmtree(released.home / "artifacts")
    score_day(DAY, released)  # the registry is not needed again


@pytest.mark.slow
def test_changed_model_in_the_registry_is_not_used(released: Settings) -> None:
    served = open_state(released).served()
    assert served is not None
    (model,) = (released.home / "artifacts").rglob("model.ubj")
    flip(model)
    with pytest.raises(ProvenanceError, match=r"model\.ubj"):
        load_model(served, released)
