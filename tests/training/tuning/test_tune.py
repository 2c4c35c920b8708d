from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path

import numpy as np
import pytest
from optuna.trial import FrozenTrial, TrialState
from pydantic import SecretStr

from include.projects import Project
from include.training.data.dataset import DatasetRef
from include.training.data.rows import Rows, load_rows, model_contract, row_splits
from include.training.fitting.booster import DeviceError, fit, probe_device
from include.training.recipe import ChampionRecipe, Hyperparameters, Recipe
from include.training.tuning.study import SharedStudy
from include.training.tuning.trials import BATCH_SIZE, FoldError, Search, bin_folds
from include.training.tuning.tune import TuningResult, make_search, tune, wall_seconds
from tests.training.gpu import HAS_GPU
from tests.training.searches import reproducible_history

pytestmark = pytest.mark.slow

CHOSEN = Hyperparameters(
    n_estimators=12, max_depth=3, learning_rate=0.1, subsample=0.7, colsample_bytree=0.5, min_child_weight=2.0
)
TRIALS = 2 * BATCH_SIZE + 3


@pytest.fixture(scope="module")
def train(project: Project, dataset: DatasetRef) -> Rows:
    return load_rows(dataset, dataset.manifest.train, model_contract(project, dataset.manifest))


@pytest.fixture(scope="module")
def search(train: Rows, dataset: DatasetRef, project: Project) -> Search:
    training = project.training.model_copy(update={"n_trials": TRIALS, "cv_folds": 4})
    return make_search(project.model_copy(update={"training": training}), dataset.manifest, train, "cpu")


def run(search: Search, journal: Path, workers: int = 1) -> TuningResult:
    return tune(search, SharedStudy(search.name, journal, SecretStr("")), workers)


def with_training(search: Search, **changes: object) -> Search:
    return dataclasses.replace(search, training=search.training.model_copy(update=changes))


def model_bytes(train: Rows, dataset: DatasetRef, seed: int) -> bytes:
    names = list(dataset.manifest.features)
    fitted = fit(train.matrix, train.churned, names, CHOSEN, seed=seed, max_bin=64, device="cpu")
    return bytes(fitted.booster.save_raw("ubj"))


def test_fit_is_reproducible(train: Rows, dataset: DatasetRef) -> None:
    assert model_bytes(train, dataset, seed=1) == model_bytes(train, dataset, seed=1)
    assert model_bytes(train, dataset, seed=1) != model_bytes(train, dataset, seed=2)


def test_trials_do_not_depend_on_number_of_workers(search: Search, tmp_path: Path) -> None:
    alone = run(search, tmp_path / "1")
    assert alone.trials == TRIALS
    for workers in (2, 3):
        shared = run(search, tmp_path / str(workers), workers)
        assert reproducible_history(shared) == reproducible_history(alone)
        assert shared.chosen == alone.chosen
        assert len({record.worker for record in shared.history}) > 1


def test_pruned_trial_is_never_chosen(search: Search, tmp_path: Path) -> None:
    tuned = run(search, tmp_path / "journal", 2)
    states = {record.state: len(record.fold_scores) for record in tuned.history}
    assert (states["complete"], states["pruned"] < 4) == (4, True)
    complete = [record for record in tuned.history if record.state == "complete"]
    assert tuned.score == max(record.score for record in complete)
    assert tuned.figures()["trials_complete"] == len(complete)
    # The first batch has no earlier trials to compare with.
    assert {record.state for record in tuned.history[:BATCH_SIZE]} == {"complete"}


def test_finished_search_is_not_repeated(search: Search, tmp_path: Path) -> None:
    first = run(search, tmp_path / "journal")
    again = run(search, tmp_path / "journal")
    assert (first.resumed, again.resumed) == (0, TRIALS)
    assert again.history == first.history


def test_trials_of_other_inputs_are_not_reused(search: Search, tmp_path: Path) -> None:
    run(search, tmp_path / "journal")
    others = [
        dataclasses.replace(search, fingerprint="other"),
        with_training(search, metric="f1"),
        with_training(search, tuning_rows=1_000),
        with_training(search, seed=1),
    ]
    assert len({other.name for other in [search, *others]}) == 1 + len(others)
    assert run(others[0], tmp_path / "journal").resumed == 0


def test_search_starts_with_the_champion_of_the_manifest(train: Rows, dataset: DatasetRef, project: Project) -> None:
    champion = CHOSEN.model_dump()
    recipe = Recipe(features=dataset.manifest.features, hyperparameters=CHOSEN)
    recorded = ChampionRecipe(version="1", recipe=recipe, trained_through=dt.date(2017, 6, 4))
    manifest = dataset.manifest.model_copy(update={"champion": recorded})
    search = make_search(project, manifest, train, "cpu")
    without = make_search(project, dataset.manifest, train, "cpu")
    assert champion.items() >= search.starting_points[0].items()
    assert search.starting_points[1:] == without.starting_points
    assert search.name != without.name


def test_large_data_is_searched_on_a_sample(train: Rows, dataset: DatasetRef, project: Project) -> None:
    training = project.training.model_copy(update={"tuning_rows": len(train) // 2})
    sampled = make_search(project.model_copy(update={"training": training}), dataset.manifest, train, "cpu")
    assert len(train) // 2 <= sampled.rows < len(train) // 2 + len(dataset.manifest.train.days)
    whole = make_search(project, dataset.manifest, train, "cpu")
    assert [fold.train.num_row() * 2 for fold in sampled.folds] == pytest.approx(
        [fold.train.num_row() for fold in whole.folds], rel=0.05
    )


def test_score_is_the_configured_metric(search: Search, tmp_path: Path) -> None:
    ranking = run(search, tmp_path / "journal")
    at_half = run(with_training(search, metric="f1"), tmp_path / "journal")
    assert (ranking.metric, at_half.metric) == ("average_precision", "f1")
    assert ranking.history[0].score != at_half.history[0].score
    assert "cv_f1" in at_half.figures()


def test_rejects_fold_without_churners(train: Rows, dataset: DatasetRef, project: Project) -> None:
    no_churners = dataclasses.replace(train, churned=np.zeros_like(train.churned))
    with pytest.raises(FoldError, match="churners"):
        bin_folds(no_churners, row_splits(no_churners, dataset.manifest, project.training), max_bin=64)


@pytest.mark.skipif(HAS_GPU, reason="this machine has a GPU")
def test_missing_gpu_is_an_error(search: Search, train: Rows, dataset: DatasetRef, tmp_path: Path) -> None:
    probe_device("cpu")
    with pytest.raises(DeviceError, match=r"but XGBoost trained on cpu.*CHURN_TRAINING__DEVICE"):
        probe_device("cuda")
    names = list(dataset.manifest.features)
    with pytest.raises(DeviceError), pytest.warns(UserWarning, match="GPU"):
        fit(train.matrix, train.churned, names, CHOSEN, seed=1, max_bin=64, device="cuda")
    with pytest.raises(DeviceError, match="configured device is cuda"):
        run(dataclasses.replace(search, device="cuda"), tmp_path / "journal")


START = dt.datetime(2026, 1, 1, 12)  # noqa: DTZ001 - Optuna's times have no zone


def trial(begin: float, end: float) -> FrozenTrial:
    """Return a trial that ran between two moments, in seconds."""
    return FrozenTrial(
        number=0,
        trial_id=0,
        state=TrialState.COMPLETE,
        value=0.5,
        datetime_start=START + dt.timedelta(seconds=begin),
        datetime_complete=START + dt.timedelta(seconds=end),
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
    )


def test_wall_time_of_parallel_trials() -> None:
    side_by_side = [trial(0, 10), trial(1, 4), trial(8, 12)]
    after_a_crash = [trial(100, 103)]
    assert wall_seconds([*after_a_crash, *side_by_side]) == 15
    assert wall_seconds([]) == 0
