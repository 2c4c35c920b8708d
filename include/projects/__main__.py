"""``python -m include.projects``: list and check projects, or create a project from a table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from include.command_line import CommandLine
from include.days import parse_day
from include.plurals import counted
from include.projects.label import ColumnLabel, NoEventLabel
from include.projects.lint import find_warnings, invalid_expectations
from include.projects.loader import PROJECTS_DIR, examine_project, load_project, project_names
from include.projects.project import Project
from include.settings import get_settings

app = CommandLine()


@app.command(name="list")
def list_projects() -> None:
    """List the projects; the configured project is marked with *."""
    configured = get_settings().project
    for name in project_names():
        project, problems = examine_project(name)
        title = project.title if project else f"{counted(len(problems), 'problem')}; list them with: check {name}"
        typer.echo(f"{'*' if name == configured else ' '} {name:20} {title}")


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="The project: its folder under include/projects/.")],
    deep: Annotated[bool, typer.Option(help="Also build every expectation with Great Expectations (10 s).")] = False,
) -> None:
    """Print all problems of a project, or its summary and warnings. The exit code is 1 if there are problems."""
    project, problems = examine_project(name)
    if project is None:
        typer.echo(f"include/projects/{name}: {counted(len(problems), 'problem')}\n")
        for problem in problems:
            typer.echo(f"{problem.place}\n  {problem}\n  Remedy: {problem.remedy}\n")
        raise typer.Exit(1)
    errors = list(invalid_expectations(project)) if deep else []
    warnings = list(find_warnings(project))
    typer.echo(_summary(project))
    for title, found in (("Errors", errors), ("Warnings", warnings)):
        if found:
            typer.echo("\n".join([f"\n{title}:", *(f"- {text}" for text in found)]))
    if errors:
        raise typer.Exit(1)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="The name of the new folder under include/projects/.")],
    from_table: Annotated[
        Path,
        typer.Option(help="A CSV, JSON-lines or Parquet file with one row per customer.", exists=True, dir_okay=False),
    ],
    customer: Annotated[str, typer.Option(help="The column with the customer's id.")],
    label: Annotated[str, typer.Option(help="The label's column and its value for churned customers: churn=yes.")],
    first_day: Annotated[str, typer.Option(help="The day of the table's first delivery, YYYY-MM-DD.")],
) -> None:
    """Create a project folder for a table without time, as a draft to review."""
    # The reader of files takes a second to import, which the other commands do not need.
    from include.projects.scaffold import new_project

    column, equals, value = label.partition("=")
    if not equals:
        raise typer.BadParameter("must have the form COLUMN=VALUE", param_hint="--label")
    folder = new_project(
        name, from_table, customer=customer, label=(column, value), first_day=parse_day(first_day), root=PROJECTS_DIR
    )
    typer.echo(f"Written: {', '.join(sorted(file.name for file in folder.iterdir()))} in include/projects/{name}/")
    for text in _assumptions(load_project(name)):
        typer.echo(text)
    typer.echo(f"Review and correct these files, then run: python -m include.projects check {name}")


def _assumptions(project: Project) -> Iterator[str]:
    """Return what was guessed from the table, each as one sentence."""
    (source,) = project.sources.values()
    guessed = source.model_dump(include={"null_tokens", "date_order"}, exclude_defaults=True)
    guessed |= source.files.model_dump(exclude_defaults=True, exclude={"path"}) if source.files else {}
    yield f"Guessed from the table: {', '.join(f'{key} {value!r}' for key, value in guessed.items())}."
    label = project.label
    if isinstance(label, ColumnLabel) and len(label.other_values or ()) > 1:
        others = ", ".join(map(repr, label.other_values or ()))
        yield f"Assumed to mean 'not churned': {others}. Remove the values that do not from other_values in label.yaml."


def _summary(project: Project) -> str:
    requirements, training = project.requirements, project.training
    numbers = sum(spec.dtype == "number" for spec in project.features)
    data, metrics, performance = requirements.data, requirements.metrics, requirements.performance
    limits = ", ".join(f"{name} {limit:g}" for name, limit in metrics.limits().items())
    lines = {
        "sources": f"\n{' ' * 17}".join(f"{name} ({_source(project, name)})" for name in project.sources),
        "population": _population(project),
        "label": f"{project.label.name}: {_label(project)}",
        "features": f"{len(project.features)}: {counted(numbers, 'number')}, "
        f"{len(project.features) - numbers} {'category' if len(project.features) - numbers == 1 else 'categories'}",
        "training": f"{counted(training.n_trials, 'trial')}, {training.cv_folds} folds, {_test(project)}",
        "required data": f"at least {data.min_training_samples:,} training rows, at least "
        f"{data.min_positive_ratio:.1%} churners, {data.min_features} to {data.max_features} features ({data.mode})",
        "required model": f"at least {limits} ({metrics.mode})",
        "required speed": f"training within {performance.max_training_hours:g} h, responses within "
        f"{performance.max_inference_p99_ms:g} ms (p99), at least {performance.min_predictions_per_second:,g} "
        f"predictions/s ({performance.mode})",
        "offers": f"from a churn probability of {requirements.costs.threshold:g}",
    }
    head = f"Project {project.name} is valid: {project.title}"
    return "\n".join([head, *(f"  {title:14} {text}" for title, text in lines.items())])


def _source(project: Project, name: str) -> str:
    source = project.sources[name]
    origin = (
        source.files.format if source.files else f"database {source.database.connection}" if source.database else ""
    )
    return f"{source.kind}, {origin}, {counted(len(source.columns), 'column')}"


def _population(project: Project) -> str:
    population = project.population
    if population.active_within_days:
        return (
            f"customers with a row of {population.source} in the last {counted(population.active_within_days, 'day')}"
        )
    if population.column:
        return f"customers of {population.source} with {population.column} {' or '.join(population.values or [])}"
    return f"all customers of {population.source}"


def _label(project: Project) -> str:
    label = project.label
    if isinstance(label, NoEventLabel):
        return f"no row of {label.source} within {counted(label.horizon_days, 'day')}"
    when = "is" if isinstance(label, ColumnLabel) else f"becomes, within {counted(label.horizon_days, 'day')},"
    return f"column {label.column} of {label.source} {when} {label.value!r}"


def _test(project: Project) -> str:
    if not project.has_time:
        return f"{project.training.test_share:.0%} of the customers as the test, stratified by label"
    return f"the last {counted(project.training.test_snapshots, 'snapshot')} as the test"


if __name__ == "__main__":
    app()
