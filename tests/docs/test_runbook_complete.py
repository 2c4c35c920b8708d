"""docs/runbook.md has a row for each task of each DAG, and for each alert rule and each message."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from include.monitoring.incident_facts import KINDS
from include.settings import ROOT, get_settings

TEXT = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
APPROVAL = "approve_promotion"
"""A task that only some projects have."""


def rows(heading: str) -> dict[str, list[str]]:
    """Return the cells of the tables below a heading, by the name in their first cell."""
    _, found, rest = TEXT.partition(f"\n{heading}\n")
    assert found, f"there is no {heading!r}"
    level = heading.partition(" ")[0]
    section = re.split(rf"^#{{2,{len(level)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return {name.strip("`"): cells for name, *cells in lines}


@pytest.mark.airflow
def test_each_task_has_a_row(airflow_database: None) -> None:
    from airflow.dag_processing.dagbag import DagBag

    get_settings.cache_clear()
    bag = DagBag(str(ROOT / "dags"))
    assert bag.dags
    for dag_id, dag in bag.dags.items():
        found = rows(f"### {dag_id}")
        names = {name for name in found if name not in ("task", "---")}
        assert names - {APPROVAL} == set(dag.task_ids) - {APPROVAL}, dag_id
        assert all(len(cells) == 3 and all(cells) for cells in found.values()), dag_id
    assert APPROVAL in rows("### churn_train")


def test_each_alert_and_message_has_a_row() -> None:
    found = rows("## Alerts")
    expected = {rule["alert"] for rule in alert_rules()} | {*KINDS, "failed run", "late list", "acknowledgement"}
    assert found.keys() - {"message", "---"} == expected
    assert all(len(cells) == 3 and all(cells) for cells in found.values())


def alert_rules() -> list[dict[str, Any]]:
    content = yaml.safe_load((ROOT / "docker/prometheus/rules.yml").read_text(encoding="utf-8"))
    return [rule for group in content["groups"] for rule in group["rules"]]
