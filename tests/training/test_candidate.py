from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from include.projects import Project
from include.settings import Settings
from include.training.candidate import make_candidate
from include.training.data.dataset import DatasetRef
from include.training.evaluation.evaluate import EvaluationError
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
