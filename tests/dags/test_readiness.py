"""The task that checks the readiness: its result, and its page."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.settings import ROOT, get_settings

pytestmark = pytest.mark.airflow


def test_task_returns_the_counts_of_each_gate_and_writes_the_page(
    airflow_database: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.dag_processing.dagbag import DagBag

    monkeypatch.setenv("CHURN_HOME", str(tmp_path))
    monkeypatch.setenv("CHURN_MLFLOW__TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("CHURN_SERVING__PORT", "1")
    get_settings.cache_clear()
    try:
        task = DagBag(str(ROOT / "dags" / "churn_maintenance.py")).dags["churn_maintenance"].get_task("check_readiness")
        counts = task.python_callable()
    finally:
        get_settings.cache_clear()
    assert {gate: found["of"] for gate, found in counts.items()} == {"1": 7, "2": 8, "3": 7, "4": 6}
    assert counts["1"]["passed"] == 1
    assert (tmp_path / "reports" / "grocery" / "readiness" / "index.html").is_file()
