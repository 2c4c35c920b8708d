"""Backup, restore and restore drill of the local stack, with its embedded PostgreSQL."""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from include.backup.create import create
from include.backup.drill import drill
from include.backup.restore import restore
from include.settings import BackupSettings, Settings
from local.environment import airflow_database
from local.postgres import add_client_programs, database_url
from local.stack import Stack


def back_up(stack: Stack, to: Path) -> None:
    """Make a backup; the stack may run meanwhile.

    Args:
        stack: The stack.
        to: The folder of backups.
    """
    with _with_databases(stack) as settings:
        made = create(settings, to, dt.datetime.now(dt.UTC))
    _print({"backup": str(made.folder), "tables": len(made.manifest.tables), "bytes": made.bytes})


def restore_backup(stack: Stack, source: Path, replace: bool, report: Callable[[str], None]) -> None:
    """Stop the stack, and restore a backup.

    Args:
        stack: The stack.
        source: The folder of the backup.
        replace: Whether present data may be replaced.
        report: Called with a message after each step.
    """
    stack.down(report)
    with _with_databases(stack) as settings:
        manifest = restore(settings, source, replace=replace)
    _print({"restored": str(source), "made": manifest.created.isoformat(), "tables": len(manifest.tables)})


def carry_out_drill(stack: Stack) -> bool:
    """Carry out a restore drill, and return whether it succeeded.

    Args:
        stack: The stack.
    """
    with _with_databases(stack) as settings:
        record, different = drill(settings, dt.datetime.now(dt.UTC))
    _print({"passed": record.passed, **record.figures, "different": different})
    return record.passed


@contextmanager
def _with_databases(stack: Stack) -> Iterator[Settings]:
    os.environ["PATH"] = add_client_programs()
    with stack.postgres() as host:
        names = {"airflow_database": airflow_database(stack.settings), "mlflow_database": "mlflow"}
        urls = {variable: database_url(host, name) for variable, name in names.items()}
        yield stack.settings.model_copy(update={"backup": BackupSettings.model_validate(urls)})


def _print(content: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
