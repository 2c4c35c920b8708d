"""``python -m include.backup``: back up a deployment, restore it, and try out the restore.

The last line of standard output of every command is one JSON object.
"""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Annotated

import typer

from include.command_line import CommandLine
from include.logs import configure_json_logs
from include.settings import get_settings, read_settings

app = CommandLine(help="Backup and restore of the configured project.")


@app.command()
def create(to: Annotated[Path, typer.Option(help="The folder of backups, best on another disk.")]) -> None:
    """Write a backup to a new folder below TO. The deployment may run meanwhile."""
    from include.backup.create import create as create_backup

    made = create_backup(get_settings(), to, dt.datetime.now(dt.UTC))
    content = {"tables": len(made.manifest.tables), "databases": made.manifest.databases, "bytes": made.bytes}
    typer.echo(json.dumps({"backup": str(made.folder)} | content))


@app.command()
def restore(
    source: Annotated[Path, typer.Option("--from", help="The folder of the backup.")],
    replace: Annotated[bool, typer.Option("--replace", help="Replace the present data.")] = False,
) -> None:
    """Restore a backup. No process of the deployment may run."""
    from include.backup.restore import restore as restore_backup

    manifest = restore_backup(read_settings(), source, replace=replace)
    typer.echo(
        json.dumps({"restored": str(source), "made": manifest.created.isoformat(), "tables": len(manifest.tables)})
    )


@app.command()
def drill() -> None:
    """Back up, destroy and restore a copy, compare it, and record the result; exit with 1 if something differs."""
    from include.backup.drill import drill as carry_out

    record, different = carry_out(get_settings(), dt.datetime.now(dt.UTC))
    typer.echo(json.dumps({"passed": record.passed, **record.figures, "different": different}))
    if not record.passed:
        raise typer.Exit(1)


if __name__ == "__main__":
    configure_json_logs()
    app()
