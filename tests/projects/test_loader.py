import shutil
from pathlib import Path

import pytest
import yaml

from include.days import DayRange
from include.projects import ProjectError, load_project, project_names
from include.projects.loader import PROJECTS_DIR
from include.projects.requirements import Costs


@pytest.fixture
def projects(tmp_path: Path) -> Path:
    shutil.copytree(PROJECTS_DIR / "grocery", tmp_path / "shop")
    return tmp_path


def edit(projects: Path, file: str, change) -> None:
    path = projects / "shop" / file
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def error_of(projects: Path) -> str:
    with pytest.raises(ProjectError) as caught:
        load_project("shop", projects)
    return str(caught.value)


def test_grocery_has_60_features_with_windows_and_validations():
    project = load_project("grocery")
    assert len(project.features) >= 60
    assert len({spec.name for spec in project.features}) == len(project.features)
    spend = next(spec for spec in project.features if spec.name == "spend_28d")
    assert spend.window == 28
    assert spend.minimum == 0
    assert not spend.nullable
    assert "28 days" in spend.description


def test_all_projects_load():
    assert [load_project(name).name for name in project_names()] == project_names()


def test_unknown_project_lists_existing_projects():
    with pytest.raises(ProjectError, match=r"no project 'nowhere'.*CHURN_PROJECT.*grocery"):
        load_project("nowhere")


@pytest.mark.parametrize(
    ("file", "change", "expected"),
    [
        ("sources.yaml", lambda c: c["sources"]["products"].pop("owner"), "sources.products.owner"),
        ("sources.yaml", lambda c: c["sources"]["products"].update(colour="red"), "sources.products.colour"),
        ("sources.yaml", lambda c: c["sources"]["products"]["files"].update(path="all.csv"), "sources.products.files"),
        ("features.yaml", lambda c: c["features"][0]["calculation"].update(source="clicks"), "features.baskets_7d"),
        ("features.yaml", lambda c: c["features"][0]["calculation"].update(column="colour"), "features.baskets_7d"),
        ("features.yaml", lambda c: c["features"].append(c["features"][0]), "features.baskets_7d"),
        ("label.yaml", lambda c: c.update(source="clicks"), "'source' names the unknown source 'clicks'"),
        ("label.yaml", lambda c: c.update(horizon_days=0), "horizon_days"),
        ("requirements.yaml", lambda c: c["costs"].pop("missed_churner_usd"), "costs.missed_churner_usd"),
        ("training.yaml", lambda c: c["search_space"]["subsample"].update(high=2), "search_space.subsample"),
        (
            "training.yaml",
            lambda c: c["search_space"]["colsample_bytree"].update(low=0),
            "search_space.colsample_bytree",
        ),
        (
            "training.yaml",
            lambda c: c["search_space"]["learning_rate"].update(low=-1),
            "search_space.learning_rate.low",
        ),
        ("training.yaml", lambda c: c["search_space"]["max_depth"].update(low=-3), "search_space.max_depth.low"),
        ("training.yaml", lambda c: c["search_space"]["n_estimators"].update(low=0), "search_space.n_estimators.low"),
        ("requirements.yaml", lambda c: c.update(target="left"), "'target' is not the label's name, 'churned'"),
        ("requirements.yaml", lambda c: c.update(problem_type="regression"), "problem_type"),
        ("requirements.yaml", lambda c: c["performance"].update(mode="sometimes"), "performance.mode"),
        ("requirements.yaml", lambda c: c["data"].update(max_features=59), "min_features (60) is above max_features"),
        ("requirements.yaml", lambda c: c.update(metrics_mode="dry_run"), "Write it as mode within metrics"),
        ("training.yaml", lambda c: c.update(n_trails=5), "n_trails"),
        ("monitoring.yaml", lambda c: c["drift"].update(multiplier=0.5), "drift.multiplier"),
        ("monitoring.yaml", lambda c: c["drift"].update(multiplier=float("inf")), "drift.multiplier"),
        ("monitoring.yaml", lambda c: c["drift"].update(exceeded_days=4), "exceeded_days must not be above of_days"),
        ("checks.yaml", lambda c: c["silver"].update(clicks={}), "silver.clicks"),
        ("checks.yaml", lambda c: c.update(bronze={}), "bronze"),
        ("project.yaml", lambda c: c["snapshots"].update(weekday="someday"), "snapshots.weekday"),
    ],
)
def test_invalid_key_names_file_key_and_remedy(projects, file, change, expected):
    edit(projects, file, change)
    message = error_of(projects)
    assert file in message
    assert expected in message
    assert "Remedy: " in message


def test_problem_type_of_an_earlier_version_is_ignored(projects):
    edit(projects, "requirements.yaml", lambda c: c.update(problem_type="binary_classification"))
    assert "problem_type" not in load_project("shop", projects).model_dump()["requirements"]


def test_missing_file_and_invalid_yaml_are_reported(projects):
    (projects / "shop" / "label.yaml").write_text("name: [unclosed\n")
    assert "label.yaml, line" in error_of(projects)
    (projects / "shop" / "label.yaml").unlink()
    assert "label.yaml" in error_of(projects)


def test_training_is_due_every_28_days_after_the_first_snapshot():
    project = load_project("grocery")
    assert project.is_training_due(DayRange.parse("2017-03-26", "2017-03-26"))
    assert not project.is_training_due(DayRange.parse("2017-03-27", "2017-04-22"))
    assert project.is_training_due(DayRange.parse("2017-03-27", "2017-04-23"))


def test_snapshots_are_sundays_after_the_warm_up():
    project = load_project("grocery")
    days = [day for day in DayRange.parse("2017-01-01", "2017-04-10") if project.is_snapshot_day(day)]
    assert [str(day) for day in days] == ["2017-03-26", "2017-04-02", "2017-04-09"]


def test_threshold_is_the_probability_with_equal_expected_costs():
    for missed, needless in ((500, 50), (50, 500), (1, 1)):
        costs = Costs(missed_churner_usd=missed, needless_offer_usd=needless)
        assert costs.threshold * missed == pytest.approx((1 - costs.threshold) * needless)


def test_readiness_is_optional(projects: Path):
    (projects / "shop" / "readiness.yaml").unlink()
    readiness = load_project("shop", projects).readiness
    assert (readiness.stale_after_days, readiness.approvals) == (30, [])


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ({"stale_after_days": 0}, "stale_after_days"),
        ({"stale_after_days_by_check": {"load_tset": 5}}, "stale_after_days_by_check.load_tset"),
        ({"approvals": [{"what": "features", "by": "Ada", "on": "2026-01-31"}]}, "approvals.0.of"),
        ({"approvals": [{"what": "model", "by": "Ada", "on": "2026-01-31", "of": "0" * 16}]}, "approvals.0.what"),
        ({"approvals": [{"what": "features", "by": " ", "on": "2026-01-31", "of": "0" * 16}]}, "approvals.0.by"),
    ],
)
def test_wrong_readiness_is_an_error_that_names_file_and_key(projects: Path, content: dict, key: str):
    (projects / "shop" / "readiness.yaml").write_text(yaml.safe_dump(content))
    error = error_of(projects)
    assert "include/projects/shop/readiness.yaml" in error
    assert key in error
