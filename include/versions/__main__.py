"""``python -m include.versions``: create, push, pull and list versions of raw data, and rebuild data sets.

The last line of standard output of every command is one JSON object. The credentials of an object store are read from
the environment (``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``, ...), never from a setting.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from include.command_line import CommandLine
from include.days import parse_day
from include.lake import open_lake
from include.logs import configure_json_logs
from include.projects import load_project
from include.settings import get_settings
from include.versions.repository import open_repository

app = CommandLine()

Revision = Annotated[str, typer.Option(help="A revision that `snapshot` or `list` printed.")]


@app.command()
def snapshot(day: Annotated[str, typer.Option(help="The last day to include (YYYY-MM-DD).")]) -> None:
    """Create a version of the raw data in the lake of this deployment."""
    from include.versions.snapshot import create_version

    settings = get_settings()
    version = create_version(
        load_project(settings.project), open_lake(settings), open_repository(settings), parse_day(day)
    )
    _print(version.model_dump())


@app.command()
def record(dataset: Annotated[Path, typer.Option(help="The folder of a data set.", exists=True)]) -> None:
    """Create and push the version of the raw data behind a data set, and record it in its manifest."""
    from include.versions.snapshot import version_dataset

    settings = get_settings()
    version = version_dataset(load_project(settings.project), open_lake(settings), open_repository(settings), dataset)
    _print(version.model_dump())


@app.command()
def push(revision: Revision) -> None:
    """Copy a version to the remote."""
    repository = open_repository(get_settings())
    _print({"revision": revision, "remote": repository.remote, "files_pushed": repository.push(revision)})


@app.command()
def pull(revision: Revision, into: Annotated[Path, typer.Option(help="The target folder.")]) -> None:
    """Fetch a version from the remote."""
    folder = open_repository(get_settings()).pull(revision, into.absolute())
    _print({"revision": revision, "folder": str(folder)})


@app.command(name="list")
def list_() -> None:
    """List the versions created by this deployment, the latest last."""
    versions = open_repository(get_settings()).versions()
    for version in versions:
        typer.echo(f"{version.revision}  {version.files:>7} files  {version.bytes / 1e6:>9.1f} MB  {version.remote}")
    _print({"versions": [version.revision for version in versions]})


@app.command()
def reproduce(
    run: Annotated[str, typer.Option(help="The MLflow run of a training.")],
    delta: Annotated[bool, typer.Option("--delta", help="Read gold at its recorded Delta versions.")] = False,
) -> None:
    """Rebuild the data set of a run from its raw data or, with --delta, from gold; exit with 1 if it differs."""
    from include.versions.reproduce import reproduce as rebuild

    outcome = rebuild(get_settings(), run, "delta" if delta else "raw", typer.echo)
    _print(outcome.as_dict())
    if not outcome.agrees:
        raise typer.Exit(1)


def _print(answer: dict[str, Any]) -> None:
    typer.echo(json.dumps(answer))


if __name__ == "__main__":
    configure_json_logs()
    app()
