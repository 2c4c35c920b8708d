from __future__ import annotations

import pytest

from include.projects import Project
from include.training.dataset import DatasetRef
from include.training.requirements import (
    RequirementsError,
    Verdict,
    check_data,
    check_model,
    require_data,
    require_model,
)

GOOD = {"accuracy": 0.9, "precision": 0.8, "recall": 0.7, "f1": 0.75}


def with_mode(project: Project, mode: str) -> Project:
    requirements = project.requirements.model_copy(update={"metrics_mode": mode})
    return project.model_copy(update={"requirements": requirements})


def with_data(project: Project, **limits: float) -> Project:
    data = project.requirements.data.model_copy(update=limits)
    return project.model_copy(update={"requirements": project.requirements.model_copy(update={"data": data})})


def test_data_that_is_fit_passes(project: Project, dataset: DatasetRef) -> None:
    assert all(verdict.ok for verdict in require_data(project, dataset.manifest))


def test_too_little_data_says_how_much_is_missing(project: Project, dataset: DatasetRef) -> None:
    rows = dataset.manifest.train.rows
    demanding = with_data(project, min_training_samples=rows + 1234, min_features=12)
    with pytest.raises(RequirementsError, match=r"2 of 4 .*\(1,234 missing\).*features is 9.*\(3 missing\)"):
        require_data(demanding, dataset.manifest)


def test_too_few_churners_are_refused(project: Project, dataset: DatasetRef) -> None:
    verdicts = check_data(with_data(project, min_positive_ratio=0.9), dataset.manifest)
    assert [verdict.name for verdict in verdicts if not verdict.ok] == ["positive_ratio"]


def test_a_model_is_judged_only_when_the_mode_asks_for_it(project: Project) -> None:
    assert check_model(with_mode(project, "disabled"), GOOD, 60) == []
    names = [verdict.name for verdict in check_model(with_mode(project, "dry_run"), GOOD, 60)]
    assert names == ["accuracy", "precision", "recall", "f1", "training_hours"]


@pytest.mark.parametrize(("mode", "refused"), [("disabled", False), ("dry_run", False), ("enabled", True)])
def test_only_enabled_refuses_a_model(project: Project, mode: str, refused: bool) -> None:
    project = with_mode(project, mode)
    verdicts = check_model(project, GOOD | {"precision": 0.3}, 60)
    if refused:
        with pytest.raises(RequirementsError, match=r"precision is 0\.3"):
            require_model(project, verdicts)
    else:
        require_model(project, verdicts)


def test_enabled_lets_a_good_model_pass(project: Project) -> None:
    project = with_mode(project, "enabled")
    require_model(project, check_model(project, GOOD, 60))


def test_a_training_that_took_too_long_is_refused(project: Project) -> None:
    project = with_mode(project, "enabled")
    with pytest.raises(RequirementsError, match="training_hours is 3"):
        require_model(project, check_model(project, GOOD, 3 * 3600))


def test_a_value_that_is_no_number_meets_nothing() -> None:
    assert not Verdict("auc", "min", 0.5, float("nan")).ok
    assert not Verdict("hours", "max", 2, float("nan")).ok
