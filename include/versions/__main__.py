"""``python -m include.versions``: versions of raw data, and training sets rebuilt from them.

Every command ends with one JSON object on the last line of its standard output. Credentials of an object store come
from the environment (``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``, ...), never from a setting.
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

Revision = Annotated[str, typer.Option(help="A revision, as `snapshot` and `list` print it.")]


@app.command()
def snapshot(day: Annotated[str, typer.Option(help="Everything delivered up to this day (YYYY-MM-DD).")]) -> None:
    """Make a version of the raw data in this deployment's lake."""
    from include.versions.snapshot import snapshot as make

    settings = get_settings()
    version = make(load_project(settings.project), open_lake(settings), open_repository(settings), parse_day(day))
    _print(version.model_dump())


@app.command()
def record(dataset: Annotated[Path, typer.Option(help="The folder of a data set.", exists=True)]) -> None:
    """Make and push the version that a data set was made from, and note it in the data set's manifest."""
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
def pull(revision: Revision, into: Annotated[Path, typer.Option(help="The folder that gets the files.")]) -> None:
    """Fetch a version from the remote."""
    folder = open_repository(get_settings()).pull(revision, into.absolute())
    _print({"revision": revision, "folder": str(folder)})


@app.command(name="list")
def list_() -> None:
    """Show the versions that were made here, the latest last."""
    versions = open_repository(get_settings()).versions()
    for version in versions:
        typer.echo(f"{version.revision}  {version.files:>7} files  {version.bytes / 1e6:>9.1f} MB  {version.remote}")
    _print({"versions": [version.revision for version in versions]})


@app.command()
def reproduce(
    run: Annotated[str, typer.Option(help="The MLflow run of a training.")],
    delta: Annotated[bool, typer.Option("--delta", help="Read gold at its recorded Delta versions instead.")] = False,
) -> None:
    """Build the training set of a run again from its raw data, and say whether it is the same; exit 1 if not."""
    from include.versions.reproduce import reproduce as build_again

    outcome = build_again(get_settings(), run, "delta" if delta else "raw", typer.echo)
    _print(outcome.as_dict())
    if not outcome.agrees:
        raise typer.Exit(1)


def _print(answer: dict[str, Any]) -> None:
    typer.echo(json.dumps(answer))


if __name__ == "__main__":
    configure_json_logs()
    app()
