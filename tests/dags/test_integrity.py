"""Every DAG file parses quickly and is documented; task bodies are short calls into include/."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from include.settings import ROOT

pytestmark = pytest.mark.airflow

DAGS = (
    "churn_acknowledge",
    "churn_deploy",
    "churn_erase",
    "churn_ingest",
    "churn_maintenance",
    "churn_monitor",
    "churn_rollback",
    "churn_score",
    "churn_train",
)
FEEDS = {
    "churn_train": {"grocery_training_request"},
    "churn_deploy": {"grocery_champion"},
    "churn_score": {"grocery_gold_features", "grocery_endpoint"},
    "churn_monitor": {"grocery_retention_list"},
}


@pytest.fixture(scope="module")
def bag(airflow_database):
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(str(ROOT / "dags"))


def test_all_dags_parse(bag):
    assert bag.import_errors == {}
    assert sorted(bag.dags) == sorted(DAGS)


@pytest.mark.parametrize("dag_id", DAGS)
def test_dag_is_documented(bag, dag_id):
    dag = bag.dags[dag_id]
    assert dag.description
    assert dag.doc_md
    assert {"churn", "grocery"} <= set(dag.tags)
    assert all(task.owner == "churnflow" for task in dag.tasks)
    assert all(param.schema.get("title") for param in (dag.params.get_param(name) for name in dag.params))
    assert dag.max_active_runs == 1
    assert not dag.catchup
    assert dag.has_on_failure_callback
    assert all(task.execution_timeout and task.has_retry_policy for task in dag.tasks)


@pytest.mark.parametrize("dag_id", sorted(FEEDS))
def test_dags_are_chained_by_assets(bag, dag_id):
    condition = bag.dags[dag_id].timetable.asset_condition
    assert {asset.name for asset in getattr(condition, "objects", [condition])} == FEEDS[dag_id]


def test_assets_carry_the_project(bag):
    outlets = {asset for dag in bag.dags.values() for task in dag.tasks for asset in task.outlets}
    assert {asset.name.split("_")[0] for asset in outlets} == {"grocery"}
    assert {asset.uri.split("/")[2] for asset in outlets} == {"grocery"}


def test_every_scheduling_asset_has_a_producer(bag):
    outlets = {asset.name for dag in bag.dags.values() for task in dag.tasks for asset in task.outlets}
    assert set().union(*FEEDS.values()) <= outlets


def test_templates_are_constants_of_the_code(bag):
    """No value of the configuration is part of a template."""
    fields = [
        str(getattr(task, name, "")) for dag in bag.dags.values() for task in dag.tasks for name in task.template_fields
    ]
    found = {template for field in fields for template in re.findall(r"\{[{%#].*?[}%#]\}", field)}
    assert found <= {
        "{{ ti.xcom_pull(task_ids='build_dataset')['name'] }}",
        "{{ ti.xcom_pull(task_ids='read_result')['model_version'] }}",
    }
    assert found


def test_schedule_off_starts_no_runs(bag):
    dag = bag.dags["churn_ingest"]
    assert dag.end_date is not None
    assert "No scheduled runs" in dag.description
    assert "No scheduled runs" in dag.doc_md


def test_daily_schedule_has_no_end():
    code = "import dags.churn_ingest as file; dag = file.churn_ingest(); print(dag.end_date, dag.description)"
    assert output_with_daily_schedule(code).startswith("None Ingest raw files into gold. Runs each midnight")


def output_with_daily_schedule(code: str) -> str:
    """Return what a process with CHURN_SCHEDULE=daily prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "CHURN_SCHEDULE": "daily", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def top_level_imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("path", sorted((ROOT / "dags").rglob("*.py")), ids=lambda path: path.name)
def test_dag_file_has_no_heavy_imports(path):
    heavy = {"pandas", "numpy", "pyarrow", "duckdb", "ibis", "deltalake", "xgboost", "mlflow", "evidently", "bentoml"}
    assert not top_level_imports(path) & heavy


@pytest.mark.parametrize("path", sorted((ROOT / "dags").glob("churn_*.py")), ids=lambda path: path.name)
def test_task_bodies_are_short(path):
    for function in [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]:
        decorators = {ast.unparse(item).split("(")[0] for item in function.decorator_list}
        if "task" in decorators:
            statements = [
                node for node in function.body if not isinstance(node, ast.Import | ast.ImportFrom | ast.Expr)
            ]
            assert len(statements) <= 7, f"{function.name} has too many statements"
            assert not any(isinstance(node, ast.For | ast.While | ast.Try) for node in ast.walk(function)), (
                function.name
            )


def test_scheduled_runs_start_at_midnight_of_the_project():
    code = (
        "import include.projects as projects\n"
        "zoned = projects.load_project('grocery').model_copy(update={'timezone': 'America/New_York'})\n"
        "projects.load_project = lambda name: zoned\n"
        "import dags.churn_ingest as file; dag = file.churn_ingest()\n"
        "print(dag.timetable.timezone, dag.description)"
    )
    output = output_with_daily_schedule(code)
    assert output.startswith("America/New_York ")
    assert "midnight (America/New_York)" in output
