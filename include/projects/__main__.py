"""``python -m include.projects``: list the projects, check one, or make a new one from a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from include.command_line import CommandLine
from include.days import parse_day
from include.projects.label import ColumnLabel, NoEventLabel
from include.projects.lint import find_warnings, unknown_expectations
from include.projects.loader import PROJECTS_DIR, examine_project, project_names
from include.projects.project import Project
from include.projects.scaffold import new_project
from include.settings import get_settings

app = CommandLine()


@app.command(name="list")
def list_projects() -> None:
    """Show every project; the one that is configured is marked."""
    configured = get_settings().project
    for name in project_names():
        project, problems = examine_project(name)
        title = project.title if project else f"{len(problems)} problems; see: check {name}"
        typer.echo(f"{'*' if name == configured else ' '} {name:20} {title}")


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="The project: its folder under include/projects/.")],
    deep: Annotated[bool, typer.Option(help="Ask Great Expectations about every expectation, too (10 s).")] = False,
) -> None:
    """Tell everything that is wrong with a project, or what it consists of. Exits with 1 when something is wrong."""
    project, problems = examine_project(name)
    if project is None:
        typer.echo(f"include/projects/{name}: {_count(problems, 'problem')}\n")
        for problem in problems:
            typer.echo(f"{problem.place}\n  {problem}\n  Remedy: {problem.remedy}\n")
        raise typer.Exit(1)
    wrong = list(unknown_expectations(project)) if deep else []
    odd = list(find_warnings(project))
    typer.echo(_summary(project))
    for title, found in (("Wrong", wrong), ("Odd", odd)):
        if found:
            typer.echo("\n".join([f"\n{title}:", *(f"- {text}" for text in found)]))
    if wrong:
        raise typer.Exit(1)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="The project's name: its folder under include/projects/.")],
    from_table: Annotated[
        Path, typer.Option(help="A CSV or Parquet file with one row per customer.", exists=True, dir_okay=False)
    ],
    customer: Annotated[str, typer.Option(help="The column that names the customer.")],
    label: Annotated[str, typer.Option(help="The column that says who left, and its value for them: churn=yes.")],
    first_day: Annotated[str, typer.Option(help="The day (YYYY-MM-DD) under which the table is delivered first.")],
) -> None:
    """Write a first project folder for a table without time, to be read and corrected."""
    column, equals, value = label.partition("=")
    if not equals:
        raise typer.BadParameter("write it as COLUMN=VALUE", param_hint="--label")
    folder = new_project(
        name, from_table, customer=customer, label=(column, value), first_day=parse_day(first_day), root=PROJECTS_DIR
    )
    typer.echo(f"Written: {', '.join(sorted(file.name for file in folder.iterdir()))} in include/projects/{name}/")
    typer.echo(f"Read them, correct them, then: python -m include.projects check {name}")


def _summary(project: Project) -> str:
    requirements, training = project.requirements, project.training
    numbers = sum(spec.dtype == "number" for spec in project.features)
    data, metrics, performance = requirements.data, requirements.metrics, requirements.performance
    baselines = ", ".join(f"{name} {limit:g}" for name, limit in metrics.limits().items())
    lines = {
        "sources": f"\n{' ' * 17}".join(f"{name} ({_source(project, name)})" for name in project.sources),
        "population": _population(project),
        "label": f"{project.label.name}: {_label(project)}",
        "features": f"{len(project.features)}: {numbers} numbers, {len(project.features) - numbers} categories",
        "training": f"{_count(training.n_trials, 'trial')}, {training.cv_folds} folds, {_test(project)}",
        "data must be": f"{data.min_training_samples:,} training rows or more, {data.min_positive_ratio:.1%} of them "
        f"churners or more, {data.min_features} to {data.max_features} features ({data.mode})",
        "model must be": f"{baselines} or more ({metrics.mode})",
        "speed must be": f"trained within {performance.max_training_hours:g} h, answers within "
        f"{performance.max_inference_p99_ms:g} ms (p99), {performance.min_predictions_per_second:,g} predictions/s "
        f"or more ({performance.mode})",
        "an offer pays": f"from a probability of {requirements.costs.threshold:g} upwards",
    }
    head = f"Project {project.name} is valid: {project.title}"
    return "\n".join([head, *(f"  {title:14} {text}" for title, text in lines.items())])


def _source(project: Project, name: str) -> str:
    source = project.sources[name]
    origin = (
        source.files.format if source.files else f"database {source.database.connection}" if source.database else ""
    )
    return f"{source.kind}, {origin}, {_count(source.columns, 'column')}"


def _population(project: Project) -> str:
    population = project.population
    if population.active_within_days:
        return f"customers with a row of {population.source} in the last {population.active_within_days} days"
    if population.column:
        return f"customers of {population.source} whose {population.column} is {' or '.join(population.values or [])}"
    return f"every customer of {population.source}"


def _label(project: Project) -> str:
    label = project.label
    if isinstance(label, NoEventLabel):
        return f"no row of {label.source} within {label.horizon_days} days"
    when = "is" if isinstance(label, ColumnLabel) else f"becomes, within {label.horizon_days} days,"
    return f"column {label.column} of {label.source} {when} {label.value!r}"


def _test(project: Project) -> str:
    if not project.has_time:
        return f"{project.training.test_share:.0%} of the customers as the test, drawn by label"
    return f"the last {_count(project.training.test_snapshots, 'snapshot')} as the test"


def _count(of: object, noun: str) -> str:
    number = of if isinstance(of, int) else len(of)  # type: ignore[arg-type]
    return f"{number} {noun}{'' if number == 1 else 's'}"


if __name__ == "__main__":
    app()
