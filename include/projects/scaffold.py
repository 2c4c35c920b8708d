"""Create a project folder from a table with one row per customer and a label column."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from pathlib import Path
from typing import Any

import yaml

from include.plurals import counted
from include.projects.customer_table import (
    DATES,
    MAX_CATEGORIES,
    Fit,
    TableColumn,
    read_table,
    table_columns,
    with_guesses,
)
from include.projects.keep_days import KeepDays
from include.projects.loader import PROJECTS_DIR, ProjectError
from include.projects.sources import Source
from include.sources.errors import CorruptFileError, EmptyFileError

_TEMPLATES = Path(__file__).parent / "templates"


def new_project(
    name: str, table: Path, *, customer: str, label: tuple[str, str], first_day: dt.date, root: Path = PROJECTS_DIR
) -> Path:
    """Create the folder of a project for a table without time, and return its path.

    Args:
        name: The project's name.
        table: A CSV file with a header, a JSON-lines file or a Parquet file, with one row per customer.
        customer: The column with the customer's id.
        label: The label's column, and its value for churned customers.
        first_day: The day of the table's first delivery.
        root: The folder that contains the projects.

    Raises:
        ProjectError: The name is in use or invalid, or the table cannot be read or does not have this form; nothing is
            written.
    """
    folder = root / name
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or folder.exists():
        raise ProjectError(
            "The folder exists already." if folder.exists() else f"{name!r} is not a valid project name.",
            where=f"include/projects/{name}",
            remedy="Choose another name, of lowercase letters, digits and underscores.",
        )
    documents = _documents(name, table, customer, *label, first_day)
    folder.mkdir()
    for file, text in documents.items():
        (folder / file).write_text(text, encoding="utf-8")
    return folder


def _documents(title: str, table: Path, customer: str, label: str, value: str, first_day: dt.date) -> dict[str, str]:
    def invalid(what: str, remedy: str) -> ProjectError:
        return ProjectError(what, where=str(table), remedy=remedy)

    try:
        source, texts = read_table(table)
    except (CorruptFileError, EmptyFileError) as error:
        # The remedies for a delivery concern sources.yaml and its owners, which do not exist yet.
        remedy = "Export the table again as CSV with a header, JSON lines or Parquet."
        raise ProjectError(error.what, where=error.where, remedy=remedy) from error
    for header in (customer, label):
        if header not in texts.headers:
            raise invalid(f"The table has no column {header!r}.", f"Choose one of {list(texts.headers)}.")
    source, fits = with_guesses(source, texts, label)
    fits = {**fits, customer: Fit("string"), label: Fit("string")}
    columns = {column.header: column for column in table_columns(texts, source, fits)}
    rows, customers = texts.rows, columns[customer].distinct
    if not rows or customers != rows:
        raise invalid(
            f"{counted(rows, 'row')} have {counted(customers, 'different value')} of {customer!r}.",
            "Use a column with unique values; a table of events requires another kind of project.",
        )
    counts = texts.counts(label, source)
    if value not in counts or len(counts) > MAX_CATEGORIES:
        raise invalid(
            f"{label!r} has {counted(len(counts), 'value')}, such as {sorted(counts)[:3]}; the label {value!r} "
            f"{'is one of them' if value in counts else 'is not one of them'}.",
            "Name the label's column and its value for churned customers: --label churn=yes.",
        )
    near = [text for text in counts if text != value and _folded(text) == _folded(value)]
    if near:
        found = ", ".join(f"{text!r} ({counted(counts[text], 'row')})" for text in [value, *near])
        raise invalid(
            f"Values of {label!r} differ only in case or blanks: {found}.", "Use one spelling throughout the table."
        )
    used = [column for header, column in columns.items() if header not in (customer, label)]
    features = [column for column in used if column.type != "string" or column.values]
    if not features:
        raise invalid("The table has no column that can be a feature.", "Use a table with numbers or categories.")
    others = sorted(set(counts) - {value})
    found_label, id_name, number = columns[label], columns[customer].name, len(features)
    return {
        "project.yaml": _document(
            {
                "title": title.replace("_", " ").capitalize(),
                "description": f"One row per customer, from {table.name} ({counted(rows, 'row')}); "
                f"{label} = {value} means "
                "churned. Describe the business, its customers and the origin of the table here.",
                "owner": "customer-care",
                "first_day": first_day,
                "population": {"source": "customers"},
                "keep_days": _Inline(
                    {name: 400 for name in KeepDays.model_fields if name not in ("landing", "features", "scores")}
                    | {"features": 365, "scores": 365}
                ),
            },
            "first_day: the day of the table's first delivery",
            "population: all customers of the table",
            "keep_days: the retention periods in days; docs/privacy.md describes them",
        ),
        "sources.yaml": _document({"sources": {"customers": _source_entry(source, list(columns.values()), id_name)}}),
        "checks.yaml": _document(_checks(found_label, sorted(counts), rows)),
        "features.yaml": _document(
            {"features": [_feature(column) for column in features]},
            "The ranges are wider than the values of the table; a row outside a range goes to quarantine.",
            "Remove every column that is filled in after a customer has churned: it reveals the label to the model.",
            *(
                f"not a feature: {column.name}, a text with {column.distinct} values; to use it, list its values under "
                "validation.categories"
                for column in used
                if column not in features
            ),
        ),
        "label.yaml": _document(
            {
                "name": "churned",
                "description": f"The customer has churned ({label} = {value}).",
                "kind": "column",
                "source": "customers",
                "column": found_label.name,
                "value": value,
            }
            | ({"other_values": others} if others else {}),
            "other_values: the values of customers who have not churned; other customers get no label",
        ),
        "requirements.yaml": _document(
            {
                "target": "churned",
                "costs": _Inline(missed_churner_usd=500, needless_offer_usd=50),
                "data": {
                    "mode": "enabled",
                    "min_training_samples": max(rows * 2 // 5, 1),
                    "min_positive_ratio": round(counts[value] / rows / 2, 3),
                    "min_features": max(number // 2, 1),
                    "max_features": number * 2,
                },
                "metrics": _Inline(mode="dry_run", accuracy=0.75, precision=0.70, recall=0.65, f1=0.67),
                "performance": _Inline(
                    mode="enabled", max_training_hours=2, max_inference_p99_ms=100, min_predictions_per_second=1000
                ),
            },
            "costs: replace them with your own costs, which determine the offers and the better of two models",
            "data is checked before training, metrics and performance after it",
            "mode: enabled stops the training if a requirement is missed; dry_run only reports it; disabled skips it",
        ),
        "training.yaml": (_TEMPLATES / "training.yaml").read_text(encoding="utf-8"),
        "monitoring.yaml": _document(
            {
                "window_days": 7,
                "sample_rows": 2000,
                "drift": _Inline(budget_per_year=1, multiplier=1.5, exceeded_days=2, of_days=3, min_influence=0.01),
            }
        ),
    }


def _source_entry(source: Source, columns: Sequence[TableColumn], customer: str) -> dict[str, Any]:
    settings = source.model_dump(mode="json", include={"null_tokens", "date_order"}, exclude_defaults=True)
    return {
        "description": "One customer.",
        "owner": "customer-care",
        "kind": "snapshot",
        "files": _Inline(source.model_dump(mode="json", exclude_defaults=True)["files"]),
        "key": [customer],
        "customer": customer,
        **settings,
        "columns": {
            column.name: _Inline(_declaration(column) | ({"required": True} if column.name == customer else {}))
            for column in columns
        },
    }


def _checks(label: TableColumn, values: list[str], rows: int) -> dict[str, Any]:
    def expect(kind: str, severity: str, **arguments: object) -> _Inline:
        return _Inline(type=f"expect_{kind}", severity=severity, arguments=arguments)

    in_set = expect("column_values_to_be_in_set", "refuse", column=label.name, value_set=values)
    # Fewer than half of the customers means a broken export.
    half = expect("table_row_count_to_be_between", "stop", min_value=rows // 2)
    some = expect("table_row_count_to_be_between", "stop", min_value=1)
    unique = expect("compound_columns_to_be_unique", "stop", column_list=["dt", "customer_id"])
    return {
        "silver": {"customers": {"minimum_pass_share": 0.99, "expectations": [half, in_set]}},
        "gold": {"minimum_pass_share": 0.99, "expectations": [some, unique]},
    }


def _declaration(column: TableColumn) -> dict[str, Any]:
    renamed = {} if column.name == column.header else {"delivered_as": column.header}
    return {"type": column.type, "description": column.title, **renamed}


def _feature(column: TableColumn) -> dict[str, Any]:
    is_date = column.type in DATES
    function = "days_since" if is_date else "attribute"
    entry = {
        "name": column.feature,
        "description": column.title,
        "type": "derived",
        "calculation": _Inline(function=function, source="customers", column=column.name),
        "validation": _Inline(_validation(column)),
    }
    return entry | ({"drifts_by_construction": True} if is_date else {})


def _validation(column: TableColumn) -> dict[str, Any]:
    """Return the allowed values of a feature: the texts of the table, or a range wider than the table's."""
    if column.type == "string":
        return {"categories": list(column.values)}
    if column.low is None or column.high is None:
        return {}
    spread = (column.high - column.low) or abs(column.high) or 1.0
    low = 0 if column.low >= 0 else _rounded(column.low - spread / 2, ROUND_FLOOR)
    found = {"min": low, "max": _rounded(column.high + spread / 2, ROUND_CEILING)}
    return {key: limit for key, limit in found.items() if math.isfinite(limit)}


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


def _rounded(number: float, rounding: str) -> float:
    """Return ``number`` with two significant digits."""
    rounded = float(Context(prec=2, rounding=rounding).create_decimal_from_float(number))
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded


class _Inline(dict[str, Any]):
    """A mapping that is written on one line."""


class _Dumper(yaml.SafeDumper):
    """Writes values as they are, without anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(
    _Inline, lambda dumper, data: dumper.represent_mapping("tag:yaml.org,2002:map", data, flow_style=True)
)
_Dumper.add_representer(
    list,
    lambda dumper, data: dumper.represent_sequence(
        "tag:yaml.org,2002:seq", data, flow_style=not any(isinstance(item, dict) for item in data)
    ),
)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    # PyYAML writes NEL (U+0085) as it is, and reads it as a line break; it escapes characters only in double quotes.
    style = '"' if re.search("[\x80-\x9f]", text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _represent_text)


def _document(content: dict[str, Any], *comments: str) -> str:
    """Return a YAML document after comments; of the table, the comments contain only the names of columns."""
    text = yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True)
    return "".join([*(f"# {comment}\n" for comment in comments), text])
