"""The training command as Airflow runs it: a process with a data set's folder and a tracking server."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

from include.lake import Lake
from include.lake.table_names import FEATURES_TABLE, LABELS_TABLE
from include.projects import Project
from include.settings import ROOT, Settings
from include.training.commands import training_command, training_environment, tuning_command
from include.training.data.build import build_dataset
from include.training.data.dataset import DataVersion, dataset_dir, record_data_version
from include.training.evaluation.leakage import LEAKAGE_FILE, LeakageError, LeakageReport
from include.training.evaluation.requirements import REQUIREMENTS_FILE, RequirementsError
from include.training.fitting.history import half_life_text
from include.training.model.bundle import Bundle
from include.training.model.reference_profile import SCORE, read_profile
from include.training.release.approval import approval_form
from include.training.release.champion import champion_recipe
from include.training.release.promotion import Approval, PromotionError, PromotionResult, promote
from include.training.release.publish import decide_promotion, publish_model, published_card
from include.training.release.registry import Registry, RegistryError
from include.training.train import train_challenger
from include.training.tuning.tune import JOURNAL_FILE
from tests.training.gold import LAST_DAY, small_project, snapshot_days, without_family, write_gold
from tests.training.gpu import HAS_GPU

pytestmark = pytest.mark.slow
REASON = "decay: the ranking has decayed."
PLOTS = ("calibration", "importance", "lift", "saving")
LOAD_REGISTERED_MODEL = """
import sys, mlflow, pandas as pd
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/churn-grocery@challenger")
model.predict(pd.read_parquet(sys.argv[2])).to_parquet(sys.argv[3])
print(sys.modules["include"].__file__)
"""
"""A program with MLflow and the packages of the model, without the repository."""


def use(home: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    # MLflow stores the artifacts of an SQLite store below the working directory.
    monkeypatch.chdir(home)
    settings = Settings(home=home, mlflow={"tracking_uri": f"sqlite:///{home}/mlflow.db"})
    mlflow.set_tracking_uri(settings.mlflow.tracking_uri)  # it is global to the process
    return settings


def run_command(settings: Settings, folder: str, result: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the DAG's command with the DAG's environment."""
    return in_process(settings, training_command(folder, str(result), python=sys.executable), **variables)


def tune_command(settings: Settings, folder: str, worker: int) -> subprocess.CompletedProcess[str]:
    return in_process(settings, tuning_command(folder, worker, python=sys.executable))


def in_process(settings: Settings, command: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CHURN_HOME": str(settings.home)}
    return subprocess.run(
        command,
        cwd=settings.home,
        env=environment | training_environment(settings) | variables,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def answer(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr[-3000:]
    last: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return last


def check_registered_model(settings: Settings, folder: Path, bundle: Bundle) -> None:
    """Check that the registered model, loaded without the repository, predicts like the bundle."""
    rows = pd.read_parquet(folder / "test.parquet").sample(frac=1, random_state=1)
    shuffled = rows[list(np.random.default_rng(1).permutation(rows.columns))]
    elsewhere = settings.home / "elsewhere"
    elsewhere.mkdir()
    shuffled.to_parquet(elsewhere / "rows.parquet")
    done = subprocess.run(
        [sys.executable, "-c", LOAD_REGISTERED_MODEL, settings.mlflow.tracking_uri, "rows.parquet", "answers.parquet"],
        cwd=elsewhere,
        # The test sends no telemetry.
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        | {"MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert not Path(done.stdout.splitlines()[-1]).is_relative_to(ROOT)
    answers = pd.read_parquet(elsewhere / "answers.parquet")
    assert list(answers.columns) == ["churn_probability"]
    assert answers.index.equals(shuffled.index)
    expected = bundle.predict(shuffled[bundle.contract.feature_names])
    assert bundle.calibrator.method != "none"
    np.testing.assert_allclose(answers["churn_probability"], expected, rtol=0, atol=1e-6)


def move_trial_starts(journal: Path, by: dt.timedelta) -> None:
    """Move the start of all trials to an earlier time, as in a long search."""

    def earlier(started: re.Match[str]) -> str:
        return f"{started[1]}{(dt.datetime.fromisoformat(started[2]) - by).isoformat()}"

    whole, changed = re.subn(r'("datetime_start":")([^"]+)', earlier, journal.read_text())
    assert changed > 0
    journal.write_text(whole)


def lake_of(settings: Settings) -> Lake:
    return Lake(f"{settings.lake_uri}/grocery")


def prepared(project: Project, settings: Settings, customers: int = 150) -> Path:
    write_gold(lake_of(settings), project, snapshot_days(project, 30), customers=customers)
    folder = dataset_dir(settings, LAST_DAY)
    return build_dataset(project, lake_of(settings), LAST_DAY, folder, request_reason=REASON).folder


def test_training_command_registers_a_challenger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = use(tmp_path, monkeypatch)
    project = small_project()
    folder = str(prepared(project, settings, customers=300))
    version = DataVersion(revision="0" * 32, remote="s3://raw", files=2, bytes=9, tables={"bronze/transactions": 4})
    record_data_version(Path(folder), version)
    result = tmp_path / "result.json"
    tuned = answer(tune_command(settings, folder, worker=1))
    assert (tuned["worker"], tuned["workers"], tuned["ran"]) == (1, 2, project.training.n_trials)
    move_trial_starts(Path(folder) / JOURNAL_FILE, dt.timedelta(hours=1))
    trained = answer(run_command(settings, folder, result))
    assert trained["resumed_trials"] == project.training.n_trials
    assert trained["seconds"]["total"] > trained["seconds"]["tune"]
    assert json.loads(result.read_text()) == trained
    assert (trained["model_version"], trained["trials"]) == ("1", project.training.n_trials)
    assert trained["metrics"]["auc"] > trained["metrics"]["auc_everybody"] + 0.2

    registry = Registry(settings)
    assert (registry.version_of("challenger"), registry.version_of("champion")) == ("1", None)
    bundle = registry.bundle("1")
    assert bundle.contract.run_id == trained["run_id"]
    assert bundle.contract.tables == {FEATURES_TABLE: 1, LABELS_TABLE: 1}
    assert bundle.contract.feature_names == [spec.name for spec in project.features]
    assert len(bundle.samples) == 20
    profile = read_profile(bundle)
    assert profile.days == (bundle.contract.trained_through,)
    assert profile.pairs > 0
    assert set(profile.features) == {SCORE, *bundle.contract.feature_names} - set(profile.left_out)
    columns = {name: [sample.features[name] for sample in bundle.samples] for name in bundle.contract.feature_names}
    recorded = [sample.churn_probability for sample in bundle.samples]
    np.testing.assert_allclose(bundle.predict(columns), recorded, rtol=1e-6)

    check_registered_model(settings, Path(folder), bundle)

    leakage = json.loads(mlflow.artifacts.load_text(f"runs:/{trained['run_id']}/leakage.json"))
    assert leakage["findings"] == trained["leakage"] == []
    assert {"auc_low", "auc_high", "ece", "saving_usd_per_1000_at_threshold_low"} <= set(trained["metrics"])

    client = mlflow.MlflowClient(settings.mlflow.tracking_uri)
    run = client.get_run(trained["run_id"])
    assert run.info.status == "FINISHED"
    assert (run.data.tags["dvc.revision"], run.data.tags["table.bronze/transactions"]) == ("0" * 32, "4")
    registered = client.get_model_version("churn-grocery", "1")
    signature = mlflow.models.get_model_info("models:/churn-grocery/1").signature
    types = {column.name: column.type.name for column in signature.inputs}
    assert types == {
        feature.name: "double" if feature.dtype == "number" else "string" for feature in bundle.contract.features
    }
    assert registered.tags["dvc.revision"] == "0" * 32
    card = mlflow.artifacts.load_text(registered.tags["model_card"])
    assert "Model card: churn-grocery, version 1" in card
    assert f"AUC {trained['metrics']['auc']:.3f}" in registered.description
    drawings = client.list_artifacts(trained["run_id"], "plots")
    assert {Path(drawing.path).name for drawing in drawings} == {f"{name}.svg" for name in PLOTS}
    kept = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/tuning.json")
    assert [record["number"] for record in kept["history"]] == list(range(project.training.n_trials))
    assert {record["worker"] for record in kept["history"]} == {1}
    # The training's time includes the worker's trials. Their start was moved back by an hour.
    assert trained["seconds"]["tune"] > 3600 + 0.9 * sum(record["seconds"] for record in kept["history"])
    assert run.data.metrics["trials_complete"] + run.data.metrics["trials_pruned"] == project.training.n_trials
    assert run.data.metrics["auc"] == pytest.approx(trained["metrics"]["auc"], abs=1e-5)
    assert run.data.tags["table.gold/features"] == "1"
    assert not [path for path in tmp_path.rglob("*") if path.suffix in {".pkl", ".pickle"}]

    assert champion_recipe(settings) is None
    registry.set_alias("champion", "1")
    champion = champion_recipe(settings)
    assert champion is not None
    assert champion.recipe.hyperparameters.model_dump() == trained["parameters"]
    assert str(champion.trained_through) == trained["trained_through"] == str(bundle.contract.trained_through)
    assert bundle.contract.evaluation is not None
    assert str(bundle.contract.evaluation.trained_through) == trained["evaluated_through"]
    assert trained["evaluated_through"] < str(bundle.contract.evaluation.first_day) < trained["trained_through"]
    assert registered.tags["trained_through"] == trained["trained_through"]
    assert registered.tags["evaluated_through"] == trained["evaluated_through"]
    assert registered.tags["request_reason"] == run.data.tags["request_reason"] == REASON
    assert registered.tags["history"] == run.data.params["history"] == trained["history"]
    assert trained["history"] == half_life_text(bundle.contract.half_life_days)

    on_a_gpu = run_command(settings, folder, result, CHURN_TRAINING__DEVICE="cuda")
    if HAS_GPU:
        assert json.loads(result.read_text())["device"].startswith("cuda")
    else:
        assert on_a_gpu.returncode != 0
        assert "The configured device is cuda, but XGBoost trained on cpu." in on_a_gpu.stderr
        assert "Traceback" not in on_a_gpu.stderr


def check_that_the_first_model_needs_an_approval(settings: Settings, project: Project) -> PromotionResult:
    """Reject, ignore and approve version 1, and return the result of the approval."""
    registry = Registry(settings)

    def published() -> dict[str, Any]:
        content: dict[str, Any] = json.loads((settings.reports_dir / "model/1/model.json").read_text())
        return content

    publish_model(settings, "1")
    assert published()["decision"] is None
    assert published()["request_reason"] == REASON
    card = (settings.reports_dir / published_card("1")).read_text()
    assert REASON in card
    auc = published()["metrics"]["auc"]
    assert auc["low"] < auc["value"] < auc["high"]

    form = approval_form(settings, "1", "/churn/view/model/1/model_card.html")
    assert form is not None
    assert f"Training requested: {REASON}" in form.text
    assert f"| AUC | {auc['value']:.3f} ({auc['low']:.3f} to {auc['high']:.3f}) |" in form.text
    assert "[Model card](/churn/view/model/1/model_card.html)" in form.text

    gated = project.model_copy(
        update={
            "training": project.training.model_copy(
                update={"promotion": project.training.promotion.model_copy(update={"approval": "required"})}
            )
        }
    )
    for approval, stated in (
        (None, "nobody was asked."),
        (Approval(False, None), "Not approved: no response in time."),
        (Approval(False, "Eva"), "Rejected by Eva."),
    ):
        kept = decide_promotion(settings, gated, "1", approval)
        assert (kept.promoted, kept.champion_version) == (False, None)
        assert kept.reason.endswith(stated)
        assert published()["decision"]["reason"] == kept.reason
        assert registry.version_of("champion") is None
    approved = decide_promotion(settings, gated, "1", Approval(True, "Eva"))
    assert approved.reason.endswith("Approved by Eva.")
    assert published()["decision"]["approval"] == {"approved": True, "by": "Eva"}
    assert approval_form(settings, "1", "/card") is None  # it already is the champion
    return approved


def test_champion_is_replaced_only_by_a_better_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = use(tmp_path, monkeypatch)
    project = small_project()
    folder = prepared(project, settings)
    registry = Registry(settings)

    assert train_challenger(settings, folder).model_version == "1"
    first = check_that_the_first_model_needs_an_approval(settings, project)
    assert (first.promoted, first.champion_version) == (True, "1"), first.reason
    assert first.comparison is not None
    assert (first.comparison.kind, first.comparison.champion) == ("first", None)
    assert 0 < first.comparison.gain.low < first.comparison.gain.usd_per_1000 < first.comparison.gain.high
    assert first.comparison.gain.over == first.comparison.baseline.name
    assert promote(settings, project, "1").promoted
    assert registry.version_of("previous") is None

    # A data set that was built before the promotion does not name the champion.
    assert train_challenger(settings, folder).model_version == "2"
    with pytest.raises(PromotionError, match="compared with no champion, and the champion is now version 1"):
        promote(settings, project, "2")

    # A model that was fitted on the same rows is no refresh.
    folder = build_dataset(
        project, lake_of(settings), LAST_DAY, dataset_dir(settings, LAST_DAY), champion_recipe(settings)
    ).folder
    assert train_challenger(settings, folder).model_version == "3"
    assert approval_form(settings, "3", "/card") is None
    third = promote(settings, project, "3")
    assert (third.promoted, third.champion_version) == (False, "1")
    assert third.comparison is not None
    assert third.comparison.kind == "refresh"
    assert "already fitted" in third.reason
    assert (registry.version_of("challenger"), registry.version_of("champion")) == ("3", "1")

    # A version without a leakage report and a version with a finding are rejected.
    with mlflow.start_run() as unchecked:
        pass
    client = mlflow.MlflowClient(settings.mlflow.tracking_uri)
    source = client.get_model_version(registry.name, "3").source
    fourth = registry.register(source, unchecked.info.run_id, tags={})
    with pytest.raises(LeakageError, match="not checked for leakage"):
        promote(settings, project, fourth)
    report = LeakageReport.model_validate_json(registry.document("3", LEAKAGE_FILE) or b"")
    found = report.model_copy(update={"findings": ("The feature age alone has an AUC of 0.990.",)})
    client.log_text(unchecked.info.run_id, found.model_dump_json(), LEAKAGE_FILE)
    with pytest.raises(LeakageError, match="The feature age alone"):
        promote(settings, project, fourth)
    assert registry.version_of("champion") == "1"

    # A model that misses a required metric is logged with its verdicts, and not registered.
    metrics = project.requirements.metrics.model_copy(update={"mode": "enabled", "precision": 1.0})
    strict = project.requirements.model_copy(update={"metrics": metrics})
    asking = project.model_copy(update={"requirements": strict})
    build_dataset(asking, lake_of(settings), LAST_DAY, folder)
    with pytest.raises(RequirementsError, match="precision"):
        train_challenger(settings, folder)
    kept = json.loads((folder / REQUIREMENTS_FILE).read_text())
    assert "precision" in [item["name"] for item in kept["verdicts"] if not item["ok"] and item["mode"] == "enabled"]
    assert {item["point"] for item in kept["verdicts"]} == {"before_training", "after_training"}
    refused = mlflow.last_active_run()
    assert refused is not None
    assert mlflow.artifacts.load_dict(f"{refused.info.artifact_uri}/{REQUIREMENTS_FILE}") == kept
    assert registry.version_of("challenger") == "3"

    # A later day gives a refresh, and the former champion is kept as the previous one.
    days = snapshot_days(project, 34)
    write_gold(lake_of(settings), project, days, customers=150)
    later = LAST_DAY + (days[-1] - days[29])
    newer = build_dataset(project, lake_of(settings), later, tmp_path / "newer", champion_recipe(settings)).folder
    refreshed = promote(settings, project, train_challenger(settings, newer).model_version)
    assert refreshed.promoted, refreshed.reason
    assert refreshed.comparison is not None
    assert refreshed.comparison.kind == "refresh"
    assert registry.version_of("previous") == "1"

    # A champion that uses removed features is not compared, and the challenger has to beat the rules.
    fewer = without_family(project, "baskets_{window}d")
    other = build_dataset(fewer, lake_of(settings), later, tmp_path / "fewer", champion_recipe(settings)).folder
    promotion = promote(settings, project, train_challenger(settings, other).model_version)
    assert not promotion.promoted, "without its best features it beats no baseline"
    assert "cannot be compared: it uses 5 features that the data set lacks" in promotion.reason
    assert "the AUC of the rule 'offer by recency'" in promotion.reason
    with pytest.raises(RegistryError, match="version 17"):
        promote(settings, project, "17")
