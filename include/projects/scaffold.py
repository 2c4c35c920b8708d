"""Create a project folder from a table with one row per customer and a label column."""

from __future__ import annotations

import datetime as dt
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from include.projects.loader import PROJECTS_DIR, ProjectError
from include.projects.yaml_files import FILES

MAX_CATEGORIES = 20
"""A text column with more distinct values does not become a feature."""

_IS_OF_TYPE = {
    "integer": r"regexp_full_match(text, '[+-]?[0-9]+(\.0+)?')",
    "number": "isfinite(TRY_CAST(text AS DOUBLE))",
    "date": r"regexp_full_match(text, '\d{4}-\d{2}-\d{2}') AND TRY_CAST(text AS DATE) IS NOT NULL",
    "timestamp": "TRY_CAST(text AS TIMESTAMP) IS NOT NULL",
}


@dataclass(frozen=True)
class TableColumn:
    """One column of the table.

    Attributes:
        name: The column's name.
        type: The first type that fits all values; ``string`` if no other type does.
        distinct: The number of distinct values.
        values: The sorted values of a text column with at most ``MAX_CATEGORIES`` values.
        low: The lowest number; None for other types.
        high: The largest number; None for other types.
    """

    name: str
    type: str
    distinct: int
    values: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None

    @property
    def title(self) -> str:
        """The name as words."""
        words = re.sub(r"[^A-Za-z0-9]+", " ", self.name).strip()
        return words[:1].upper() + words[1:]

    @property
    def is_date(self) -> bool:
        """Whether the values are dates or timestamps."""
        return self.type in ("date", "timestamp")

    @property
    def feature(self) -> str:
        """The name of the column's feature."""
        slug = re.sub(r"[^a-z0-9]+", "_", self.name.lower()).strip("_")
        return slug if slug[:1].isalpha() else f"column_{slug}"

    @property
    def validation(self) -> dict[str, Any]:
        """The allowed values of the feature: the texts of the table, or a range wider than the table's."""
        if self.type == "string":
            return {"categories": list(self.values)}
        if self.low is None or self.high is None:
            return {}
        spread = (self.high - self.low) or abs(self.high) or 1.0
        low = 0 if self.low >= 0 else _rounded(self.low - spread / 2, math.floor)
        return {"min": low, "max": _rounded(self.high + spread / 2, math.ceil)}


def new_project(
    name: str, table: Path, *, customer: str, label: tuple[str, str], first_day: dt.date, root: Path = PROJECTS_DIR
) -> Path:
    """Create the folder of a project for a table without time, and return its path.

    Args:
        name: The project's name.
        table: A CSV file with a header, or a Parquet file, with one row per customer.
        customer: The column with the customer's id.
        label: The label's column, and its value for churned customers.
        first_day: The day of the table's first delivery.
        root: The folder that contains the projects.

    Raises:
        ProjectError: The name is in use or invalid, or the table does not have this form; nothing is written.
    """
    folder = root / name
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or folder.exists():
        raise ProjectError(
            "The folder exists already." if folder.exists() else f"{name!r} is not a valid project name.",
            where=f"include/projects/{name}",
            remedy="Choose another name, of lowercase letters, digits and underscores.",
        )
    columns, rows, churners = _read(table, customer, *label)
    used = [column for column in columns if column.name not in (customer, label[0])]
    features = [column for column in used if column.type != "string" or column.values]
    environment = Environment(
        loader=PackageLoader("include.projects"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - YAML; each text of the table is quoted by the filter
    )
    environment.filters["yaml"] = _inline
    found = next(column for column in columns if column.name == label[0])
    context = {
        "title": name.replace("_", " ").capitalize(),
        "file": table.name,
        "format": _format(table),
        "customer": customer,
        "first_day": first_day,
        "rows": rows,
        "share": churners / rows,
        "columns": columns,
        "label": {"column": label[0], "value": label[1], "found": list(found.values)},
        "features": [{"name": item.feature, "column": item, "validation": item.validation} for item in features],
        "left_out": [column for column in used if column not in features],
    }
    texts = {file: environment.get_template(f"{file}.j2").render(context) for file in FILES}
    folder.mkdir()
    for file, text in texts.items():
        (folder / file).write_text(text, encoding="utf-8")
    return folder


def _read(table: Path, customer: str, label: str, value: str) -> tuple[list[TableColumn], int, int]:
    def invalid(what: str, remedy: str) -> ProjectError:
        return ProjectError(what, where=str(table), remedy=remedy)

    engine = duckdb.connect()
    # All values are text, as in bronze, so that categories are the texts of the file.
    scan = (
        "read_parquet($file)"
        if _format(table) == "parquet"
        else "read_csv($file, header = true, all_varchar = true, delim = ',')"
    )
    try:
        engine.execute(f"CREATE TABLE dump AS SELECT * FROM {scan}", {"file": str(table)})  # noqa: S608 - one of two texts
    except duckdb.Error as error:
        raise invalid(
            f"The table cannot be read: {str(error).splitlines()[0]}", "Give a CSV or a Parquet file."
        ) from error
    names = [str(row[0]) for row in engine.execute("DESCRIBE dump").fetchall()]
    for name in (customer, label):
        if name not in names:
            raise invalid(f"The table has no column {name!r}.", f"Choose one of {names}.")
    columns = [_column(engine, name) for name in names]
    count = engine.execute("SELECT count(*) FROM dump").fetchone()
    rows = int(count[0]) if count else 0
    by_name = {column.name: column for column in columns}
    if not rows or by_name[customer].distinct != rows:
        raise invalid(
            f"{rows} rows have {by_name[customer].distinct} different values of {customer!r}.",
            "Use a column with unique values; a table of events requires another kind of project.",
        )
    texts = engine.execute(f"SELECT trim(CAST({_quote(label)} AS VARCHAR)), count(*) FROM dump GROUP BY 1").fetchall()  # noqa: S608 - quoted
    counts = {str(text): int(number) for text, number in texts if text}
    if value not in counts or len(counts) > MAX_CATEGORIES:
        raise invalid(
            f"{label!r} has {len(counts)} values, such as {sorted(counts)[:3]}; the label {value!r} "
            f"{'is one of them' if value in counts else 'is not one of them'}.",
            "Name the label's column and its value for churned customers: --label churn=yes.",
        )
    at = names.index(label)
    columns[at] = TableColumn(label, "string", len(counts), tuple(sorted(counts)))
    columns[names.index(customer)] = TableColumn(customer, "string", rows)
    return columns, rows, counts[value]


def _column(engine: duckdb.DuckDBPyConnection, name: str) -> TableColumn:
    # An empty text is a missing value, as in silver.
    texts = f"(SELECT trim(CAST({_quote(name)} AS VARCHAR)) AS text FROM dump) WHERE text != ''"  # noqa: S608 - quoted
    tests = ", ".join(f"bool_and(coalesce({test}, false))" for test in _IS_OF_TYPE.values())
    number = "TRY_CAST(text AS DOUBLE)"
    found = engine.execute(
        f"SELECT count(DISTINCT text), min({number}), max({number}), {tests} FROM {texts}"  # noqa: S608 - quoted
    ).fetchone()
    assert found is not None  # noqa: S101 - an aggregate has one row
    distinct, low, high, *fits = found
    kind = next((kind for kind, fit in zip(_IS_OF_TYPE, fits, strict=True) if fit), "string")
    if kind != "string":
        return (
            TableColumn(name, kind, distinct, (), low, high)
            if kind in ("integer", "number")
            else TableColumn(name, kind, distinct)
        )
    values: tuple[str, ...] = ()
    if distinct <= MAX_CATEGORIES:
        rows = engine.execute(f"SELECT DISTINCT text FROM {texts} ORDER BY 1").fetchall()  # noqa: S608
        values = tuple(str(row[0]) for row in rows)
    return TableColumn(name, kind, distinct, values)


def _format(table: Path) -> str:
    return "parquet" if table.suffix == ".parquet" else "csv"


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _rounded(number: float, direction: Any) -> float:
    """Return ``number`` with two significant digits, rounded in ``direction`` (``math.floor`` or ``math.ceil``)."""
    if number == 0:
        return 0
    step = 10.0 ** (math.floor(math.log10(abs(number))) - 1)
    rounded = round(direction(number / step) * step, 10)
    return int(rounded) if float(rounded).is_integer() else rounded


def _inline(value: object) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True)
    return text.removesuffix("...\n").strip()
