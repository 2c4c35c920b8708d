"""``python -m include.readiness``: check the phase gates, and write their page."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import typer

from include.command_line import CommandLine
from include.logs import configure_json_logs
from include.readiness.gates import run_checks
from include.readiness.results import FOLDER, PAGE, ReadinessResult
from include.settings import get_settings

app = CommandLine()


@app.command()
def main(
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as one JSON object.")] = False,
) -> None:
    """Check the phase gates of the configured project, print the results, and write the page of the reports."""
    configure_json_logs()
    settings = get_settings()
    result = run_checks(settings, dt.datetime.now(dt.UTC))
    if as_json:
        typer.echo(result.model_dump_json())
        return
    typer.echo(_text(result))
    typer.echo(f"Page: {settings.reports_dir / FOLDER / PAGE}")


def _text(result: ReadinessResult) -> str:
    lines: list[str] = []
    for number, gate in result.gates.items():
        lines.append(f"Gate {number}, {gate.title.lower()}: {gate.passed} of {gate.of}")
        for check in gate.checks:
            lines.append(f"  {check.state:6} {check.title}" + (f" ({check.figure})" if check.figure else ""))
            if check.state != "passed":
                lines.append(f"         {check.evidence}")
    return "\n".join(lines)


if __name__ == "__main__":
    app()
