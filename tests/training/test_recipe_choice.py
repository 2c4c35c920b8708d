"""The choice between a tuned recipe and the champion's recipe, and the comparison with the champion."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.projects import Project
from include.training import recipe_choice
from include.training.data.dataset import DatasetRef, ScoresFile
from include.training.data.rows import Rows, concatenate, load_rows, model_contract
from include.training.fitting.recipe_fitter import RecipeFitter
from include.training.recipe import ChampionRecipe, Hyperparameters, Recipe
from include.training.recipe_choice import RecipeChoice, choose_recipe

GOOD = Hyperparameters(
    n_estimators=30, max_depth=3, learning_rate=0.1, subsample=0.8, colsample_bytree=1.0, min_child_weight=5.0
)
USELESS = GOOD.model_copy(update={"n_estimators": 1, "max_depth": 1, "colsample_bytree": 0.01})


@pytest.fixture(scope="module")
def parts(project: Project, dataset: DatasetRef) -> dict[str, Rows]:
    contract = model_contract(project, dataset.manifest)
    return {name: load_rows(dataset, part, contract) for name, part in dataset.manifest.parts.items()}


def recipe(project: Project, hyperparameters: Hyperparameters = GOOD) -> Recipe:
    return Recipe(features=tuple(spec.name for spec in project.features), hyperparameters=hyperparameters)


def champion_of(dataset: DatasetRef, made: Recipe, days_older: int = 28) -> ChampionRecipe:
    through = dataset.manifest.days[-1] - dt.timedelta(days=days_older)
    return ChampionRecipe(version="7", recipe=made, trained_through=through)


def choose(
    project: Project,
    dataset: DatasetRef,
    parts: dict[str, Rows],
    tuned: Recipe,
    champion: ChampionRecipe | None,
    scores: ScoresFile | None = None,
) -> RecipeChoice:
    manifest = dataset.manifest.model_copy(update={"champion": champion, "champion_scores": scores})
    contract = model_contract(project, manifest)
    fitter = RecipeFitter(project, replace(dataset, manifest=manifest), contract, "cpu", 2)
    return choose_recipe(fitter, parts["train"], parts["test"], concatenate(list(parts.values())), tuned)


def test_first_model_is_compared_with_the_rules(project: Project, dataset: DatasetRef, parts: dict[str, Rows]) -> None:
    comparison = choose(project, dataset, parts, recipe(project), None).comparison
    assert (comparison.kind, comparison.champion_version, comparison.champion) == ("first", None, None)
    assert comparison.promote, comparison.reason
    assert comparison.candidate.auc > comparison.baseline.auc


def test_evaluated_model_has_not_seen_the_gap_and_the_test(
    project: Project, dataset: DatasetRef, parts: dict[str, Rows]
) -> None:
    choice = choose(project, dataset, parts, recipe(project), None)
    unseen = {name: replace(rows, churned=1 - rows.churned) for name, rows in parts.items() if name != "train"}
    again = choose(project, dataset, parts | unseen, recipe(project), None)
    assert np.array_equal(choice.probabilities, again.probabilities)


def test_better_recipe_replaces_the_champions(project: Project, dataset: DatasetRef, parts: dict[str, Rows]) -> None:
    champion = champion_of(dataset, recipe(project, USELESS))
    choice = choose(project, dataset, parts, recipe(project), champion)
    assert choice.recipe == recipe(project)
    assert (choice.comparison.kind, choice.comparison.champion_version) == ("new_recipe", "7")
    assert choice.comparison.promote
    assert choice.comparison.champion is not None
    assert choice.comparison.champion.auc < choice.comparison.candidate.auc


def test_worse_recipe_leads_to_a_refresh(project: Project, dataset: DatasetRef, parts: dict[str, Rows]) -> None:
    own = recipe(project)
    choice = choose(project, dataset, parts, recipe(project, USELESS), champion_of(dataset, own))
    assert choice.recipe == own
    assert (choice.comparison.kind, choice.comparison.promote) == ("refresh", True)
    assert choice.comparison.reason.startswith("A new recipe was tried, and the champion's is kept. Saves $")
    assert "the AUC of an older fit" in choice.comparison.reason


def test_refresh_is_refused_if_newer_rows_make_the_model_worse(
    project: Project, dataset: DatasetRef, parts: dict[str, Rows]
) -> None:
    champion = champion_of(dataset, recipe(project), days_older=70)
    # The newest rows that precede the latest snapshots have wrong labels; the older fit lacks them.
    rows = concatenate(list(parts.values()))
    first = rows.snapshot_days[-4] - dt.timedelta(days=dataset.manifest.horizon_days + 70)

    def spoiled(part: Rows) -> Rows:
        wrong = (part.days > np.datetime64(first)) & (part.days < np.datetime64(rows.snapshot_days[-4]))
        return replace(part, churned=np.where(wrong, 1 - part.churned, part.churned).astype(np.int8))

    broken = {name: part if name == "test" else spoiled(part) for name, part in parts.items()}
    comparison = choose(project, dataset, broken, recipe(project), champion).comparison
    assert (comparison.kind, comparison.promote) == ("refresh", False)


def test_same_rows_are_no_refresh(project: Project, dataset: DatasetRef, parts: dict[str, Rows]) -> None:
    champion = champion_of(dataset, recipe(project), days_older=0)
    comparison = choose(project, dataset, parts, recipe(project), champion).comparison
    assert not comparison.promote
    assert f"already fitted on the snapshots through {dataset.manifest.days[-1]}" in comparison.reason


def test_champion_with_removed_features_is_not_compared(
    project: Project, dataset: DatasetRef, parts: dict[str, Rows]
) -> None:
    made = recipe(project)
    champion = champion_of(dataset, made.model_copy(update={"features": (*made.features, "removed_7d")}))
    comparison = choose(project, dataset, parts, made, champion).comparison
    assert (comparison.kind, comparison.champion_version) == ("first", "7")
    assert "cannot be compared: it uses 1 feature that the data set lacks, such as 'removed_7d'" in comparison.reason


def test_champion_with_fewer_features_can_be_kept(
    project: Project, dataset: DatasetRef, parts: dict[str, Rows]
) -> None:
    names = tuple(spec.name for spec in project.features)
    fewer = Recipe(features=names[:-1], hyperparameters=GOOD)
    choice = choose(project, dataset, parts, recipe(project, USELESS), champion_of(dataset, fewer))
    assert choice.recipe.features == names[:-1]
    assert choice.evaluated.booster.feature_names == list(names[:-1])


@pytest.mark.parametrize(("noisy", "promote"), [(True, True), (False, False)])
def test_champion_is_compared_by_its_production_scores(
    project: Project,
    dataset: DatasetRef,
    parts: dict[str, Rows],
    noisy: bool,
    promote: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recipe_choice, "_MIN_PRODUCTION_CHURNERS", 50)  # there are 120 customers
    champion = champion_of(dataset, recipe(project, USELESS), days_older=98)
    rows = concatenate(list(parts.values()))
    scored = rows.where(rows.days > np.datetime64(champion.trained_through + dt.timedelta(days=28)))
    random = np.random.default_rng(1)
    perfect = 0.05 + 0.9 * scored.churned
    columns = {
        "dt": pa.array(scored.days),
        "customer_id": scored.customers,
        "churn_probability": random.permutation(perfect) if noisy else perfect,
    }
    path = dataset.folder / f"scores-{noisy}.parquet"
    pq.write_table(pa.table(columns), path)
    scores = ScoresFile(file=path.name, sha256="")
    choice = choose(project, dataset, parts, recipe(project), champion, scores)
    assert (choice.comparison.kind == "new_recipe") is promote
    days = len(scored.snapshot_days)
    assert f"the champion on {days} production days" in choice.comparison.reason
