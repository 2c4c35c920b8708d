from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from include.projects import Project
from include.training.dataset import DatasetRef
from include.training.fit import DeviceError, Hyperparameters, fit, probe_device
from include.training.folds import Fold, FoldError, bin_folds, score_folds
from include.training.row_splits import row_splits
from include.training.rows import Rows, load_rows, model_contract
from include.training.tuning import Tuned, tune

CHOSEN = Hyperparameters(
    n_estimators=12, max_depth=3, learning_rate=0.1, subsample=0.7, colsample_bytree=0.5, min_child_weight=2.0
)


@pytest.fixture(scope="module")
def train(project: Project, dataset: DatasetRef) -> Rows:
    return load_rows(dataset, dataset.manifest.train, model_contract(project, dataset.manifest))


@pytest.fixture(scope="module")
def folds(train: Rows, dataset: DatasetRef, project: Project) -> list[Fold]:
    return bin_folds(train, row_splits(train, dataset.manifest, project.training), max_bin=64)


def run(folds: list[Fold], project: Project, journal: Path, *, trials: int = 3, threads: int = 1) -> Tuned:
    training = project.training.model_copy(update={"n_trials": trials})
    return tune(folds, training, fingerprint="data", journal=journal, device="cpu", threads=threads)


def model_bytes(train: Rows, dataset: DatasetRef, seed: int) -> bytes:
    names = list(dataset.manifest.features)
    booster = fit(train.matrix, train.churned, names, CHOSEN, seed=seed, max_bin=64, device="cpu")
    return bytes(booster.save_raw("ubj"))


def test_the_same_data_and_seed_give_the_same_model(train: Rows, dataset: DatasetRef) -> None:
    assert model_bytes(train, dataset, seed=1) == model_bytes(train, dataset, seed=1)
    assert model_bytes(train, dataset, seed=1) != model_bytes(train, dataset, seed=2)


def test_scores_do_not_depend_on_the_number_of_threads(folds: list[Fold]) -> None:
    scores = [score_folds(folds, CHOSEN, seed=1, max_bin=64, device="cpu", threads=threads) for threads in (1, 2)]
    assert scores[0] == scores[1]
    assert len(set(scores[0])) == 2


def test_trials_are_the_same_on_any_number_of_threads(folds: list[Fold], project: Project, tmp_path: Path) -> None:
    assert run(folds, project, tmp_path / "a", threads=1) == run(folds, project, tmp_path / "b", threads=2)


def test_a_finished_search_is_not_run_again(folds: list[Fold], project: Project, tmp_path: Path) -> None:
    first = run(folds, project, tmp_path / "journal")
    again = run(folds, project, tmp_path / "journal")
    assert (first.trials, first.resumed, again.trials, again.resumed) == (3, 0, 3, 3)
    assert again.chosen == first.chosen


def test_a_search_that_was_cut_off_ends_as_one_that_was_not(
    folds: list[Fold], project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(folds, project, tmp_path / "whole", trials=6)
    calls = 0

    def stop_in_the_fourth(*args: object, **kwargs: object) -> list[float]:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return score_folds(*args, **kwargs)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr("include.training.tuning.score_folds", stop_in_the_fourth)
        with pytest.raises(KeyboardInterrupt):
            run(folds, project, tmp_path / "cut", trials=6)
    resumed = run(folds, project, tmp_path / "cut", trials=6)
    assert resumed.resumed == 3
    assert dataclasses.replace(resumed, resumed=0) == whole


def test_other_data_does_not_reuse_trials(folds: list[Fold], project: Project, tmp_path: Path) -> None:
    run(folds, project, tmp_path / "journal")
    other = tune(folds, project.training, fingerprint="other", journal=tmp_path / "journal", device="cpu", threads=1)
    assert other.resumed == 0


def test_a_fold_without_churners_cannot_be_scored(train: Rows, dataset: DatasetRef, project: Project) -> None:
    nobody = dataclasses.replace(train, churned=np.zeros_like(train.churned))
    with pytest.raises(FoldError, match="churners"):
        bin_folds(nobody, row_splits(nobody, dataset.manifest, project.training), max_bin=64)


def has_gpu() -> bool:
    try:
        probe_device("cuda")
    except DeviceError:
        return False
    return True


@pytest.mark.skipif(has_gpu(), reason="this machine has a GPU")
def test_a_missing_gpu_is_an_error(train: Rows, dataset: DatasetRef) -> None:
    probe_device("cpu")
    with pytest.raises(DeviceError, match=r"was to run on cuda, and ran on cpu.*CHURN_TRAINING__DEVICE"):
        probe_device("cuda")
    names = list(dataset.manifest.features)
    with pytest.raises(DeviceError), pytest.warns(UserWarning, match="GPU"):
        fit(train.matrix, train.churned, names, CHOSEN, seed=1, max_bin=64, device="cuda")
