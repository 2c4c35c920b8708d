"""The executor of the local stack."""

from __future__ import annotations

import importlib
import logging

from airflow.executors.local_executor import LocalExecutor

_LIBRARIES = (
    "airflow.dag_processing.dagbag",
    "airflow.sdk.execution_time.task_runner",
    "deltalake",
    "great_expectations",
    "ibis.backends.duckdb",
    "mlflow",
    "pandas",
    "pyarrow.dataset",
    "xgboost",
)


class PreloadingExecutor(LocalExecutor):
    """A ``LocalExecutor`` whose tasks start with the libraries of the product imported.

    A task is a fork of a worker, and a worker is a fork of the scheduler. The scheduler imports the libraries once, so
    that tasks share them. The product's own modules are imported by each task, so that a task executes their current
    code.
    """

    def start(self) -> None:
        """Import the libraries, and start the workers."""
        # Great Expectations logs some 200 lines during its import.
        logging.getLogger("great_expectations").setLevel(logging.WARNING)
        for name in _LIBRARIES:
            importlib.import_module(name)
        super().start()
