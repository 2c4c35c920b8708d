from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from include.projects import Project
from include.training.data.dataset import DatasetRef, load_dataset
from include.training.evaluation.requirements import (
    REQUIREMENTS_FILE,
    RequirementsError,
    Verdict,
    check_data,
    check_model,
    require_data,
    require_model,
)

GOOD = {"accuracy": 0.9, "precision": 0.8, "recall": 0.7, "f1": 0.75}


def with_group(project: Project, group: str, **changes: object) -> Project:
    """Return the project with other values in one group of its requirements."""
    content = project.model_dump()
    content["requirements"][group] |= changes
    return Project.model_validate(content)


def kept(folder: Path) -> list[dict[str, Any]]:
    verdicts: list[dict[str, Any]] = json.loads((folder / REQUIREMENTS_FILE).read_text())["verdicts"]
    return verdicts


def test_valid_data_passes_and_verdicts_are_written(project: Project, dataset_copy: Path) -> None:
    verdicts = require_data(project, load_dataset(dataset_copy))
    assert [verdict.name for verdict in verdicts] == ["training_samples", "positive_ratio", "features", "features"]
    assert all(verdict.ok and verdict.missing == 0 for verdict in verdicts)
    assert kept(dataset_copy) == [verdict.as_dict() for verdict in verdicts]


def test_error_for_a_missed_data_requirement_contains_the_missing_amount(project: Project, dataset_copy: Path) -> None:
    dataset = load_dataset(dataset_copy)
    rows = dataset.manifest.train.rows
    demanding = with_group(project, "data", min_training_samples=rows + 1234, min_features=12)
    with pytest.raises(RequirementsError, match=r"2 of 4 .*\(1,234 missing\).*features is 9.*\(3 missing\)"):
        require_data(demanding, dataset)
    assert kept(dataset_copy)[0] == {
        "name": "training_samples",
        "bound": "min",
        "required": rows + 1234,
        "found": rows,
        "point": "before_training",
        "mode": "enabled",
        "ok": False,
        "missing": 1234,
    }
    assert load_dataset(dataset_copy) == dataset


def test_detects_too_few_churners(project: Project, dataset: DatasetRef) -> None:
    verdicts = check_data(with_group(project, "data", min_positive_ratio=0.9), dataset.manifest)
    assert [verdict.name for verdict in verdicts if not verdict.ok] == ["positive_ratio"]


@pytest.mark.parametrize(("mode", "checked"), [("dry_run", 4), ("disabled", 0)])
def test_missed_data_requirement_is_no_error_unless_enabled(
    project: Project, dataset_copy: Path, mode: str, checked: int
) -> None:
    lenient = with_group(project, "data", mode=mode, min_training_samples=10**9)
    verdicts = require_data(lenient, load_dataset(dataset_copy))
    assert len(verdicts) == len(kept(dataset_copy)) == checked
    assert [verdict.name for verdict in verdicts if not verdict.ok] == ["training_samples"][:checked]


@pytest.mark.parametrize(
    ("metrics", "performance", "checked"),
    [
        ("dry_run", "enabled", ["accuracy", "precision", "recall", "f1", "training_hours"]),
        ("disabled", "enabled", ["training_hours"]),
        ("enabled", "disabled", ["accuracy", "precision", "recall", "f1"]),
        ("disabled", "disabled", []),
    ],
)
def test_each_group_has_its_own_mode(project: Project, metrics: str, performance: str, checked: list[str]) -> None:
    project = with_group(with_group(project, "metrics", mode=metrics), "performance", mode=performance)
    assert [verdict.name for verdict in check_model(project, GOOD, 60)] == checked


@pytest.mark.parametrize(("mode", "refused"), [("disabled", False), ("dry_run", False), ("enabled", True)])
@pytest.mark.parametrize(
    ("group", "metrics", "seconds", "message"),
    [
        ("metrics", GOOD | {"precision": 0.3}, 60, r"precision is 0\.3, required is at least 0\.7 \(0\.4 missing\)"),
        ("performance", GOOD, 3 * 3600, r"training_hours is 3, required is at most 2 \(1 too many\)"),
    ],
)
def test_only_enabled_mode_rejects_a_model(
    project: Project, group: str, metrics: dict[str, float], seconds: float, message: str, mode: str, refused: bool
) -> None:
    project = with_group(with_group(project, "metrics", mode="enabled"), group, mode=mode)
    verdicts = check_model(project, metrics, seconds)
    if refused:
        with pytest.raises(RequirementsError, match=rf"1 of 5 requirements: {message}"):
            require_model(project, verdicts)
    else:
        require_model(project, verdicts)


def test_enabled_mode_accepts_a_good_model(project: Project) -> None:
    project = with_group(project, "metrics", mode="enabled")
    require_model(project, check_model(project, GOOD, 60))


def test_nan_meets_no_requirement() -> None:
    assert not Verdict("auc", "min", 0.5, float("nan"), "after_training", "enabled").ok
    assert not Verdict("hours", "max", 2, float("nan"), "after_training", "enabled").ok
