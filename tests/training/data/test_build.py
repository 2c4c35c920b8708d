from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.features.definitions import mark_built, mark_labelled
from include.lake import Lake
from include.projects import Project
from include.training.data.build import build_dataset, prepare_dataset
from include.training.data.dataset import DatasetError, DatasetRef
from include.training.evaluation.requirements import RequirementsError
from include.training.recipe import ChampionRecipe
from tests.training.gold import LAST_DAY, snapshot_days, without_family

CHAMPION = ChampionRecipe.model_validate(
    {
        "version": "1",
        "recipe": {
            "features": ["age"],
            "hyperparameters": {
                "n_estimators": 10,
                "max_depth": 3,
                "learning_rate": 0.1,
                "subsample": 1,
                "colsample_bytree": 1,
                "min_child_weight": 1,
            },
        },
        "trained_through": "2017-06-04",
    }
)


@pytest.fixture
def lake(gold: Lake, tmp_path: Path) -> Lake:
    return Lake(str(shutil.copytree(gold.uri, tmp_path / "lake")))


def test_accepts_days_of_equal_definitions(project: Project, lake: Lake, tmp_path: Path) -> None:
    prepared = prepare_dataset(project, lake, LAST_DAY, tmp_path / "dataset", CHAMPION)
    assert prepared.dataset.manifest.champion == CHAMPION
    assert prepared.as_dict()["train_rows"] == prepared.dataset.manifest.train.rows
    fewer = without_family(project, "baskets_{window}d")
    assert prepare_dataset(fewer, lake, LAST_DAY, tmp_path / "fewer").dataset.manifest.train.rows > 0


def test_error_contains_days_with_other_feature_definitions_and_the_remedy(
    project: Project, lake: Lake, tmp_path: Path
) -> None:
    days = snapshot_days(project, 30)
    mark_built(without_family(project, "baskets_{window}d"), lake, dict.fromkeys(days[:5], 120))
    with pytest.raises(
        DatasetError, match=f"5 training days, {days[0]} to {days[4]}.*definition of baskets_"
    ) as caught:
        prepare_dataset(project, lake, LAST_DAY, tmp_path / "dataset")
    assert f'"from_day": "{days[0]}", "to_day": "{days[4]}"' in str(caught.value)


def test_error_contains_days_with_another_label_definition(project: Project, lake: Lake, tmp_path: Path) -> None:
    days = snapshot_days(project, 30)
    longer = project.model_copy(update={"label": project.label.model_copy(update={"horizon_days": 60})})
    mark_labelled(longer, lake, [], days[:2])
    with pytest.raises(DatasetError, match=r"2 training days.*churned"):
        prepare_dataset(project, lake, LAST_DAY, tmp_path / "dataset")


def test_rejects_days_without_recorded_definitions(project: Project, lake: Lake, tmp_path: Path) -> None:
    shutil.rmtree(Path(lake.uri) / "gold" / "_days")
    with pytest.raises(DatasetError, match="training days"):
        prepare_dataset(project, lake, LAST_DAY, tmp_path / "dataset")


def test_missed_requirement_is_an_error(project: Project, lake: Lake, tmp_path: Path) -> None:
    content = project.model_dump()
    content["requirements"]["data"] |= {"mode": "enabled", "min_training_samples": 10**6}
    demanding = Project.model_validate(content)
    with pytest.raises(RequirementsError, match="samples"):
        prepare_dataset(demanding, lake, LAST_DAY, tmp_path / "dataset")


def test_data_set_has_all_rows_of_a_sample_of_customers(
    project: Project, gold: Lake, dataset: DatasetRef, tmp_path: Path
) -> None:
    every = _rows(dataset)
    wanted = every.num_rows // 3
    training = project.training.model_copy(update={"max_rows": wanted})
    sample = build_dataset(project.model_copy(update={"training": training}), gold, LAST_DAY, tmp_path / "sample")
    drawn = _rows(sample)
    customers = set(drawn["customer_id"].to_pylist())
    assert drawn == every.filter([customer in customers for customer in every["customer_id"].to_pylist()])
    assert wanted <= drawn.num_rows < wanted + len(dataset.manifest.days)
    assert sample.manifest.days == dataset.manifest.days
    assert (sample.manifest.labelled_rows, dataset.manifest.labelled_rows) == (every.num_rows, None)


def _rows(dataset: DatasetRef) -> pa.Table:
    parts = [pq.read_table(dataset.folder / part.file) for part in dataset.manifest.parts.values()]
    return pa.concat_tables(parts).combine_chunks()
