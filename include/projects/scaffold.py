"""Create a project folder from a table with one row per customer and a label column.

The table is read and converted in the same way as in an ingest, so that a new project accepts its own table.
"""

from __future__ import annotations

import datetime as dt
import math
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from pathlib import Path
from typing import Any, NamedTuple

import ibis
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from include.lake import connect
from include.projects.loader import PROJECTS_DIR, ProjectError
from include.projects.references import RESERVED_FEATURES, is_reserved_column
from include.projects.sources import Column, ColumnType, Files, Source
from include.sources.column_types import trimmed, typed_value
from include.sources.delivered_files import content_errors
from include.sources.errors import CorruptFileError, EmptyFileError
from include.sources.file_content import compression_of
from include.sources.guess_format import guess_files
from include.sources.read_files import read_local_file
from include.sources.storage import StoredFile

MAX_CATEGORIES = 20
"""A text column with more distinct values does not become a feature."""

_TYPES: tuple[ColumnType, ...] = ("integer", "number", "date", "timestamp")
_DATES = ("date", "timestamp")
_ID = r"^[+-]?(0[0-9]|[0-9]{16})"
"""The beginning of a number that identifies something, such as a postcode or a card number."""
_PLACEHOLDER = re.compile(r"[^\w\s]{1,3}|missing|unknown|undefined|none|null|nil|empty|nan|na|n\.a\.", re.IGNORECASE)
"""A text that probably means *no value*, if it is the only other text in a column of numbers or dates."""
_PLAIN_NAME = re.compile(r"[^\W_]([\w -]{0,98}\w)?")
_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class TableColumn:
    """One column of the table.

    Attributes:
        header: The column's name in the table.
        name: The column's name in the project.
        feature: The name of the column's feature.
        type: The first type that fits all values; ``string`` if no other type does.
        distinct: The number of distinct values.
        values: The sorted values of a text column with at most ``MAX_CATEGORIES`` values.
        low: The lowest number; None for other types.
        high: The largest number; None for other types.
    """

    header: str
    name: str
    feature: str
    type: ColumnType
    distinct: int
    values: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None

    @property
    def title(self) -> str:
        """The name as words."""
        words = re.sub(r"[\W_]+", " ", self.name).strip()
        return words[:1].upper() + words[1:]

    @property
    def declaration(self) -> dict[str, Any]:
        """The column in ``sources.yaml``."""
        renamed = {} if self.name == self.header else {"delivered_as": self.header}
        return {"type": self.type, "description": self.title, **renamed}

    @property
    def feature_entry(self) -> dict[str, Any]:
        """The feature in ``features.yaml``."""
        is_date = self.type in _DATES
        function = "days_since" if is_date else "attribute"
        entry = {
            "name": self.feature,
            "description": self.title,
            "type": "derived",
            "calculation": _Inline(function=function, source="customers", column=self.name),
            "validation": _Inline(self._validation),
        }
        return entry | ({"drifts_by_construction": True} if is_date else {})

    @property
    def _validation(self) -> dict[str, Any]:
        """The allowed values of the feature: the texts of the table, or a range wider than the table's."""
        if self.type == "string":
            return {"categories": list(self.values)}
        if self.low is None or self.high is None:
            return {}
        spread = (self.high - self.low) or abs(self.high) or 1.0
        low = 0 if self.low >= 0 else _rounded(self.low - spread / 2, ROUND_FLOOR)
        found = {"min": low, "max": _rounded(self.high + spread / 2, ROUND_CEILING)}
        return {key: limit for key, limit in found.items() if math.isfinite(limit)}


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
        source, texts = _read(table)
    except (CorruptFileError, EmptyFileError) as error:
        # The remedies for a delivery concern sources.yaml and its owners, which do not exist yet.
        remedy = "Export the table again as CSV with a header, JSON lines or Parquet."
        raise ProjectError(error.what, where=error.where, remedy=remedy) from error
    for header in (customer, label):
        if header not in texts.headers:
            raise invalid(f"The table has no column {header!r}.", f"Choose one of {list(texts.headers)}.")
    source, fits = _with_guesses(source, texts, label)
    fits = {**fits, customer: _Fit("string"), label: _Fit("string")}
    columns = {column.header: column for column in _columns(texts, source, fits)}
    rows, customers = texts.rows, columns[customer].distinct
    if not rows or customers != rows:
        raise invalid(
            f"{rows} rows have {customers} different values of {customer!r}.",
            "Use a column with unique values; a table of events requires another kind of project.",
        )
    counts = texts.counts(label, source)
    if value not in counts or len(counts) > MAX_CATEGORIES:
        raise invalid(
            f"{label!r} has {len(counts)} values, such as {sorted(counts)[:3]}; the label {value!r} "
            f"{'is one of them' if value in counts else 'is not one of them'}.",
            "Name the label's column and its value for churned customers: --label churn=yes.",
        )
    near = [text for text in counts if text != value and _folded(text) == _folded(value)]
    if near:
        found = ", ".join(f"{text!r} ({counts[text]:,} row{'s'[: counts[text] > 1]})" for text in [value, *near])
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
                "description": f"One row per customer, from {table.name} ({rows:,} rows); {label} = {value} means "
                "churned. Describe the business, its customers and the origin of the table here.",
                "owner": "customer-care",
                "first_day": first_day,
                "population": {"source": "customers"},
            },
            "first_day: the day of the table's first delivery",
            "population: all customers of the table",
        ),
        "sources.yaml": _document({"sources": {"customers": _source_entry(source, list(columns.values()), id_name)}}),
        "checks.yaml": _document(_checks(found_label, sorted(counts), rows)),
        "features.yaml": _document(
            {"features": [column.feature_entry for column in features]},
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
                "min_drifted_features": max(number // 10, 2),
                "retrain_on_drift": True,
                "max_auc_drop": 0.05,
                "sample_rows": 2000,
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
            column.name: _Inline(column.declaration | ({"required": True} if column.name == customer else {}))
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


class _Fit(NamedTuple):
    """The type of a column, and the placeholder for *no value* that the source must then declare."""

    type: ColumnType
    placeholder: str | None = None


class _Texts:
    """The texts of the table, and their conversion as in silver.

    Args:
        table: All columns as text.
    """

    def __init__(self, table: pa.Table) -> None:
        self.headers: tuple[str, ...] = tuple(table.column_names)
        self.rows: int = table.num_rows
        self._texts, self._engine = table, connect()
        names = [f"column_{position}" for position in range(len(self.headers))]
        self._table = ibis.memtable(table.rename_columns(names))

    def has(self, header: str, pattern: str) -> bool:
        """Return whether a text of a column contains a match of a regular expression."""
        return bool(pc.any(pc.match_substring_regex(self._texts[header], pattern)).as_py())

    def counts(self, header: str, source: Source) -> dict[str, int]:
        """Return the number of rows of each value of a column."""
        texts = self._column(header, source)
        found = self._engine.to_pyarrow(texts.group_by("text").agg(rows=texts.count()).order_by("text"))
        return dict(zip(found["text"].to_pylist(), found["rows"].to_pylist(), strict=True))

    def distinct(self, header: str, source: Source, limit: int) -> tuple[int, tuple[str, ...]]:
        """Return the number of values of a column, and the sorted values if there are at most ``limit``."""
        texts = self._column(header, source).distinct()
        number = int(self._engine.to_pyarrow(texts.count()).as_py())
        few = self._engine.to_pyarrow(texts.order_by("text").limit(limit if number <= limit else 0))
        return number, tuple(few["text"].to_pylist())

    def fit(self, header: str, source: Source) -> _Fit:
        """Return the first type that fits all values of a column, or all but one placeholder."""
        if not self.has(header, "[0-9]"):
            return _Fit("string")
        texts = self._column(header, source).distinct()
        typed = {kind: typed_value(texts["text"], kind, source) for kind in _TYPES}
        measures = {kind: value.count() for kind, value in typed.items()}
        is_id = texts["text"].re_search(_ID).any()
        row = self._engine.to_pyarrow(texts.aggregate(total=texts.count(), is_id=is_id, **measures)).to_pylist()[0]
        for kind in _TYPES:
            others = row["total"] - row[kind]
            if not row[kind] or others > 1 or (row["is_id"] and kind in ("integer", "number")):
                continue
            if not others:
                return _Fit(kind)
            (other,) = self._engine.to_pyarrow(texts.filter(typed[kind].isnull()))["text"].to_pylist()
            if _PLACEHOLDER.fullmatch(other):
                return _Fit(kind, other)
        return _Fit("string")

    def bounds(self, header: str, source: Source) -> tuple[float, float]:
        """Return the smallest and the largest number of a column of numbers."""
        number = typed_value(self._column(header, source)["text"], "number", source)
        row = self._engine.to_pyarrow(number.as_table().aggregate(low=number.min(), high=number.max())).to_pylist()[0]
        return row["low"], row["high"]

    def _column(self, header: str, source: Source) -> ibis.Table:
        text = trimmed(self._table[f"column_{self.headers.index(header)}"], source)
        texts = self._table.select(text=text)
        return texts.filter(texts["text"].notnull())


def _read(table: Path) -> tuple[Source, _Texts]:
    source = Source(
        description="One customer.",
        owner="customer-care",
        kind="snapshot",
        files=Files(format="csv", path="{day}"),
        key=["customer"],
        columns={"customer": Column(type="string")},
    )
    with content_errors(source, StoredFile(str(table), table.stat().st_size)):
        guessed = guess_files(table)
    extension = table.suffix if compression_of(table.name) != "none" else ""
    files = guessed.model_copy(update={"path": f"customers/{{day}}.{guessed.format}{extension}"})
    source = source.model_copy(update={"files": files})
    return source, _Texts(read_local_file(source, table))


def _with_guesses(source: Source, texts: _Texts, label: str) -> tuple[Source, Mapping[str, _Fit]]:
    """Add decimal separator, date order and null tokens where the table shows them; return the type of each column."""
    fits = {header: texts.fit(header, source) for header in texts.headers}
    guessed, ambiguous = _with_decimal_separator(source, texts, fits)
    unknown = [header for header, fit in fits.items() if fit.type == "string"]

    def refitted(source: Source) -> dict[str, _Fit]:
        return {header: _Fit("string") if header in ambiguous else texts.fit(header, source) for header in fits}

    orders = {order: guessed.model_copy(update={"date_order": order}) for order in ("dmy", "mdy")}
    written = [header for header in unknown if texts.has(header, "[0-9]{1,2}[./-][0-9]{1,2}[./-][0-9]{4}")]
    dates = {
        order: {header for header in written if texts.fit(header, ordered).type in _DATES}
        for order, ordered in orders.items()
    }
    for order, other in (("dmy", "mdy"), ("mdy", "dmy")):
        if dates[order] - dates[other] and not dates[other] - dates[order]:
            guessed = orders[order]
    fits = fits if guessed is source and not ambiguous else refitted(guessed)
    found = {fit.placeholder for fit in fits.values() if fit.placeholder}
    # Null tokens apply to all columns, and in a column of categories the same text has a meaning.
    for header in [header for header, fit in fits.items() if found and (fit.type == "string" or header == label)]:
        found -= set(texts.distinct(header, guessed, MAX_CATEGORIES)[1])
    if not found:
        return guessed, fits
    guessed = guessed.model_copy(update={"null_tokens": (*source.null_tokens, *sorted(found))})
    return guessed, refitted(guessed)


def _with_decimal_separator(source: Source, texts: _Texts, fits: Mapping[str, _Fit]) -> tuple[Source, Collection[str]]:
    """Return the source with the guessed decimal separator, and the columns whose points may separate thousands."""
    files = source.files
    if files is None or files.format != "csv":
        return source, ()

    def may_be_thousands(header: str, mark: str) -> bool:
        number = re.compile(rf"[+-]?[1-9][0-9]{{0,2}}(\{mark}[0-9]{{3}})+")
        return all(number.fullmatch(text) for text in texts.counts(header, source) if mark in text)

    comma = source.model_copy(update={"files": files.model_copy(update={"decimal_separator": ","})})
    commas = [
        header
        for header, fit in fits.items()
        if fit.type == "string" and texts.has(header, "[0-9],[0-9]") and texts.fit(header, comma).type == "number"
    ]
    # In a file with commas between values, the comma in 1,234 may separate thousands.
    if files.separator == "," and all(may_be_thousands(header, ",") for header in commas):
        commas = []
    points = [header for header, fit in fits.items() if fit.type in ("integer", "number") and texts.has(header, r"\.")]
    thousands = [header for header in points if may_be_thousands(header, ".")]
    if commas and thousands == points:
        return comma, thousands
    return source, thousands if commas or (files.separator == ";" and thousands == points) else ()


def _columns(texts: _Texts, source: Source, fits: Mapping[str, _Fit]) -> list[TableColumn]:
    names = _names(texts.headers)
    features: dict[str, str] = {}
    columns = []
    for header in texts.headers:
        # A column whose placeholder is a category of another column stays a text.
        kind = "string" if fits[header].placeholder else fits[header].type
        distinct, values = texts.distinct(header, source, MAX_CATEGORIES if kind == "string" else 0)
        low, high = texts.bounds(header, source) if kind in ("integer", "number") else (None, None)
        slug = _slug(unicodedata.normalize("NFKD", names[header]).lower(), "a-z0-9")
        slug = slug if slug[:1].isalpha() and slug not in RESERVED_FEATURES else f"column_{slug}".rstrip("_")
        features[header] = _unused(slug, features.values())
        columns.append(TableColumn(header, names[header], features[header], kind, distinct, values, low, high))
    return columns


def _names(headers: Sequence[str]) -> Mapping[str, str]:
    """Return a name for each header: itself if it is plain, and otherwise its letters and digits."""
    names: dict[str, str] = {}
    for header in sorted(headers, key=lambda header: _PLAIN_NAME.fullmatch(header) is None):
        name = header if _PLAIN_NAME.fullmatch(header) else _slug(header, r"\w") or "column"
        name = f"column_{name}" if is_reserved_column(name) else name
        names[header] = _unused(name, names.values())
    return names


def _slug(text: str, kept: str) -> str:
    return re.sub(rf"[^{kept}]+", "_", text).strip("_")[:60].strip("_")


def _unused(name: str, names: Any) -> str:
    taken = {other.casefold() for other in names}
    number, found = 1, name
    while found.casefold() in taken:
        number += 1
        found = f"{name}_{number}"
    return found


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
