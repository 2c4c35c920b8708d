"""``python -m local``: start, stop and inspect the local stack, and run the demo."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from include.command_line import CommandLine
from include.settings import read_settings
from local.stack import Stack

app = CommandLine()


@app.command()
def up() -> None:
    """Start the stack and leave it running."""
    stack = Stack()
    stack.up(_say)
    _say(f"Airflow {stack.airflow_url}   MLflow {stack.mlflow_url}   endpoint {stack.settings.serving.url}")


@app.command()
def down() -> None:
    """Stop the stack."""
    Stack().down(_say)


@app.command()
def status() -> None:
    """Show the state of each process and of each Airflow component."""
    stack = Stack()
    if stack.supervisor.pid() is None:
        _say("The stack is not running.")
        raise typer.Exit(3)
    for name, state in {
        **stack.supervisor.states(),
        **{f"airflow {part}": state for part, state in stack.health().items()},
    }.items():
        _say(f"{name:23} {state}")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def airflow(context: typer.Context) -> None:
    """Run Airflow's own command line against the running stack."""
    environment = Stack().environment()
    os.execvpe("airflow", ["airflow", *context.args], environment)  # noqa: S606 - replaces this process


@app.command()
def demo(
    keep: Annotated[bool, typer.Option(help="Leave the stack running after a successful demo.")] = True,
) -> None:
    """Run the whole chain on the grocery data."""
    from local.demo import run_demo

    raise typer.Exit(run_demo(Stack(), keep))


@app.command()
def backup(to: Annotated[Path, typer.Option(help="The folder of backups, best on another disk.")]) -> None:
    """Write a backup to a new folder below TO; the stack may run meanwhile."""
    from local.backup import back_up

    back_up(Stack(), to)


@app.command()
def restore(
    source: Annotated[Path, typer.Option("--from", help="The folder of the backup.")],
    replace: Annotated[bool, typer.Option("--replace", help="Replace the present data.")] = False,
) -> None:
    """Stop the stack and restore a backup."""
    from local.backup import restore_backup

    restore_backup(Stack(read_settings()), source, replace, _say)


@app.command()
def drill() -> None:
    """Back up, destroy and restore a copy, compare it, and record the result."""
    from local.backup import carry_out_drill

    raise typer.Exit(0 if carry_out_drill(Stack()) else 1)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    app()
