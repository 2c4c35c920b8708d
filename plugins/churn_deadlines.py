"""The plugin that registers the deadline of the retention list, so that Airflow's scheduler can compute it."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from dags.wiring.deadline import ListDue

_REFERENCES: list[Any] = [ListDue]


class ChurnDeadlinesPlugin(AirflowPlugin):
    """Register the reference of the deadline."""

    name = "churn_deadlines"
    deadline_references = _REFERENCES
