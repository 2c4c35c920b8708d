"""The feature catalogue: what each feature means, where it comes from, how it is calculated, and what it may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from include.projects import FeatureSpec, Project
from include.projects.features import Aggregate, Attribute, Calculation, DaysSince, Ratio, Share, Trend
from include.projects.label import BecomesLabel, NoEventLabel


@dataclass(frozen=True)
class Entry:
    """One feature, in words.

    Attributes:
        name: The column of gold.
        meaning: What it means.
        source: The table that it comes from; the features, where it derives of others.
        calculation: How it is calculated.
        window: Over which days.
        validation: What its values must satisfy.
        type: Number or category.
        nullable: Whether a customer can lack it.
    """

    name: str
    meaning: str
    source: str
    calculation: str
    window: str
    validation: str
    type: str
    nullable: str


def catalogue(project: Project) -> list[Entry]:
    """Return the entries of all features, in the order of ``features.yaml``."""
    return [
        Entry(
            name=spec.name,
            meaning=spec.description,
            source=_source(spec.calculation),
            calculation=_calculation(spec.calculation),
            window=f"{spec.window} days" if spec.window else "",
            validation=_validation(spec),
            type=f"{spec.dtype}, {spec.type}",
            nullable="yes" if spec.nullable else "no",
        )
        for spec in project.features
    ]


def markdown(project: Project) -> str:
    """Return the project's page of features, derived columns, population and label."""
    lines = [
        f"# Features: {project.title}",
        "",
        f"{' '.join(project.description.split())}",
        "",
        f"Written by `python -m include.features document` from `include/projects/{project.name}/`. A row of gold is"
        " one customer on one day: features use what happened and was known by the end of that day.",
        "",
        f"* **Who gets a row**: {_population(project)}",
        f"* **Label `{project.label.name}`**: {_label(project)}",
        "",
        f"## {len(project.features)} features",
        "",
        *_table([asdict(entry) for entry in catalogue(project)]),
    ]
    if project.derived_columns:
        derived = [
            {
                "source": source,
                "column": column.name,
                "meaning": column.description,
                "type": column.type,
                "calculation": f"`{column.sql}`",
            }
            for source, columns in project.derived_columns.items()
            for column in columns
        ]
        lines += ["", "## Derived columns", "", *_table(derived)]
    return "\n".join(lines) + "\n"


def text(project: Project) -> str:
    """Return the catalogue for a terminal: one block of lines a feature."""
    blocks = []
    for entry in catalogue(project):
        given = {key: value for key, value in asdict(entry).items() if value and key != "name"}
        blocks.append("\n".join([entry.name, *(f"  {key:<12}{value}" for key, value in given.items())]))
    return "\n".join(blocks)


def _source(calculation: Calculation) -> str:
    if isinstance(calculation, Ratio | Trend):
        return "features"
    return calculation.source


def _calculation(calculation: Calculation) -> str:
    match calculation:
        case Ratio():
            return f"{calculation.numerator} / {calculation.denominator}"
        case Trend():
            return f"{calculation.near} per day / {calculation.far} per day"
        case Attribute():
            return f"{calculation.column} of the row in force"
        case DaysSince():
            return f"days since {calculation.column} of the row in force"
        case Share():
            what = f"sum of {calculation.of}" if calculation.of else "events"
            return f"share of {what} where {calculation.column} is {calculation.value}"
        case Aggregate():
            name = calculation.function.replace("_", " ")
            of = f" of {calculation.column}" if calculation.column else ""
            where = f" where `{calculation.where}`" if calculation.where else ""
            return f"{name}{of}{where}"


def _validation(spec: FeatureSpec) -> str:
    if spec.categories:
        return ", ".join(spec.categories)
    low, high = (None if limit is None else f"{limit:g}" for limit in (spec.minimum, spec.maximum))
    if low is not None and high is not None:
        return f"{low} to {high}"
    return f"at least {low}" if low is not None else f"at most {high}" if high is not None else ""


def _population(project: Project) -> str:
    population = project.population
    if population.active_within_days:
        return f"customers with a row in `{population.source}` within {population.active_within_days} days"
    if population.values:
        return f"customers whose `{population.column}` in `{population.source}` is {' or '.join(population.values)}"
    return f"all customers in `{population.source}`"


def _label(project: Project) -> str:
    label = project.label
    meaning = label.description.rstrip(".")
    if isinstance(label, NoEventLabel):
        return f"{meaning} (no row in `{label.source}` for {label.horizon_days} days)."
    change = f"`{label.column}` in `{label.source}`"
    if isinstance(label, BecomesLabel):
        return f"{meaning} ({change} becomes {label.value} within {label.horizon_days} days)."
    return f"{meaning} ({change} is {label.value})."


def _table(rows: Sequence[dict[str, str]]) -> list[str]:
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([row[name].replace("|", "\\|") for name in names] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]
