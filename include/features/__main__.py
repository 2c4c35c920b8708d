"""``python -m include.features``: print the feature catalogue, or write it as documentation pages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from include.command_line import CommandLine
from include.features.catalogue import markdown, text
from include.projects import load_project, project_names
from include.settings import ROOT, get_settings

app = CommandLine(help="The feature catalogue of a project.")

PAGES = ROOT / "docs" / "features"


@app.command()
def describe(
    project: Annotated[str | None, typer.Argument(help="The project; default: the configured project.")] = None,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the Markdown page.")] = False,
) -> None:
    """Print meaning, source, calculation, window, validation and type of every feature."""
    loaded = load_project(project or get_settings().project)
    typer.echo(markdown(loaded) if as_markdown else text(loaded))


@app.command()
def document(
    folder: Annotated[Path, typer.Option(help="The folder of the pages, one for each project.")] = PAGES,
) -> None:
    """Write the page of every project to docs/features/."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in project_names():
        path = folder / f"{name}.md"
        path.write_text(markdown(load_project(name)), encoding="utf-8")
        typer.echo(str(path))


if __name__ == "__main__":
    app()
