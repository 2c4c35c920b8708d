"""``python -m include.upgrade``: upgrade the data of a deployment that an earlier release wrote."""

from __future__ import annotations

from typing import Annotated

import typer

from include.command_line import CommandLine
from include.logs import configure_json_logs
from include.projects import load_project
from include.settings import get_settings
from include.upgrade.steps import pending_steps

app = CommandLine()


@app.command()
def main(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the steps; nothing is changed.")] = False,
) -> None:
    """Print and take the steps that the configured project's data needs for this release.

    No other process of the deployment may write meanwhile. An interrupted upgrade can be repeated.
    """
    settings = get_settings()
    steps = pending_steps(settings, load_project(settings.project))
    for number, step in enumerate(steps, 1):
        typer.echo(f"{number}/{len(steps)} {step.what}")
        if not dry_run:
            step.run()
    if not steps:
        typer.echo("Nothing is to be done: this release wrote all tables.")


if __name__ == "__main__":
    configure_json_logs()
    app()
