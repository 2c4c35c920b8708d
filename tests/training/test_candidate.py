from __future__ import annotations

import dataclasses
import datetime as dt
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from include.projects import Project
from include.settings import Settings
from include.training.candidate import make_candidate
from include.training.card.model_card import make_model_card
from include.training.data.dataset import DatasetRef
from include.training.evaluation.evaluate import EvaluationError
from include.training.model.bundle import Bundle
from include.training.tuning.tune import JOURNAL_FILE


def with_test_rows(dataset: DatasetRef, folder: Path, rows: pa.Table) -> DatasetRef:
    """Return a copy of the data set with other test rows and without trials."""
    copied = Path(shutil.copytree(dataset.folder, folder, ignore=shutil.ignore_patterns(JOURNAL_FILE)))
    pq.write_table(rows, copied / dataset.manifest.test.file)
    return dataclasses.replace(dataset, folder=copied)


def test_rejects_unusable_test_before_the_search(project: Project, dataset: DatasetRef, tmp_path: Path) -> None:
    rows = pq.read_table(dataset.folder / dataset.manifest.test.file)
    stayed = rows.filter(pc.equal(rows[project.label.name], 0))
    for kept, reason in ((stayed, "all have the same label"), (rows.slice(0, 0), "no test rows")):
        unfit = with_test_rows(dataset, tmp_path / reason, kept)
        with pytest.raises(EvaluationError, match=reason):
            make_candidate(project, Settings(home=tmp_path), unfit)
        assert not (unfit.folder / JOURNAL_FILE).exists()


def test_registered_model_knows_the_latest_snapshots_and_the_evaluated_one_does_not(
    project: Project, dataset: DatasetRef, tmp_path: Path
) -> None:
    candidate = make_candidate(project, Settings(home=tmp_path), dataset)
    manifest = dataset.manifest
    assert candidate.contract.trained_through == manifest.test.days[-1]
    assert candidate.evaluated_through == manifest.train.days[-1]
    assert candidate.contract.evaluation is not None
    assert candidate.contract.evaluation.metrics["auc"].value == candidate.evaluation.auc
    changed = Path(shutil.copytree(dataset.folder, tmp_path / "changed"))
    for part in (manifest.gap, manifest.test):
        flip_labels(changed / part.file, project.label.name)
    other = make_candidate(project, Settings(home=tmp_path), dataclasses.replace(dataset, folder=changed))
    assert other.recipe == candidate.recipe
    assert other.evaluated.booster.save_raw() == candidate.evaluated.booster.save_raw()
    assert other.model.booster.save_raw() != candidate.model.booster.save_raw()


def test_half_life_is_chosen_after_a_change_of_labels(project: Project, dataset: DatasetRef, tmp_path: Path) -> None:
    changed = Path(shutil.copytree(dataset.folder, tmp_path / "changed", ignore=shutil.ignore_patterns(JOURNAL_FILE)))
    days = dataset.manifest.train.days
    flip_labels(changed / dataset.manifest.train.file, project.label.name, before=days[-6])
    candidate = make_candidate(project, Settings(home=tmp_path), dataclasses.replace(dataset, folder=changed))
    half_life = candidate.model.history.half_life_days
    assert half_life is not None
    candidate.bundle("run-1").save(tmp_path / "bundle")
    assert Bundle.load(tmp_path / "bundle").contract.half_life_days == half_life
    card = make_model_card(candidate, candidate.bundle("run-1"), "1", []).markdown
    assert f"the registered model: half-life of {half_life:g} days" in card


def test_model_without_skill_is_not_promoted(project: Project, dataset: DatasetRef, tmp_path: Path) -> None:
    noise = Path(shutil.copytree(dataset.folder, tmp_path / "noise", ignore=shutil.ignore_patterns(JOURNAL_FILE)))
    random = np.random.default_rng(1)
    for part in dataset.manifest.parts.values():
        rows = pq.read_table(noise / part.file)
        position = rows.schema.get_field_index(project.label.name)
        churned = pa.array((random.random(rows.num_rows) < 0.2).astype(np.int32))
        pq.write_table(rows.set_column(position, project.label.name, churned), noise / part.file)
    candidate = make_candidate(project, Settings(home=tmp_path), dataclasses.replace(dataset, folder=noise))
    assert not candidate.comparison.promote


def flip_labels(path: Path, label: str, before: dt.date = dt.date.max) -> None:
    rows = pq.read_table(path)
    flipped = pc.if_else(pc.less(rows["dt"], before), pc.subtract(1, rows[label]), rows[label])
    flipped = flipped.cast(rows.schema.field(label).type)
    pq.write_table(rows.set_column(rows.schema.get_field_index(label), label, flipped), path)
