"""The columns of a table of customers: names, types and values.

The table is read and converted in the same way as in an ingest, so that a new project accepts its own table.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import ibis
import pyarrow as pa
import pyarrow.compute as pc

from include.lake import connect
from include.projects.references import RESERVED_FEATURES, is_reserved_column
from include.projects.sources import Column, ColumnType, Files, Source
from include.sources.column_types import trimmed, typed_value
from include.sources.delivered_files import content_errors
from include.sources.file_content import compression_of
from include.sources.guess_format import guess_files
from include.sources.read_files import read_local_file
from include.sources.storage import StoredFile

MAX_CATEGORIES = 20
"""A text column with more distinct values does not become a feature."""

_TYPES: tuple[ColumnType, ...] = ("integer", "number", "date", "timestamp")
DATES = ("date", "timestamp")
_ID = r"^[+-]?(0[0-9]|[0-9]{16})"
"""The beginning of a number that identifies something, such as a postcode or a card number."""
_PLACEHOLDER = re.compile(r"[^\w\s]{1,3}|missing|unknown|undefined|none|null|nil|empty|nan|na|n\.a\.", re.IGNORECASE)
"""A text that probably means *no value*, if it is the only other text in a column of numbers or dates."""
_PLAIN_NAME = re.compile(r"[^\W_]([\w -]{0,98}\w)?")


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


class Fit(NamedTuple):
    """The type of a column, and the placeholder for *no value* that the source must then declare."""

    type: ColumnType
    placeholder: str | None = None


class Texts:
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

    def fit(self, header: str, source: Source) -> Fit:
        """Return the first type that fits all values of a column, or all but one placeholder."""
        if not self.has(header, "[0-9]"):
            return Fit("string")
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
                return Fit(kind)
            (other,) = self._engine.to_pyarrow(texts.filter(typed[kind].isnull()))["text"].to_pylist()
            if _PLACEHOLDER.fullmatch(other):
                return Fit(kind, other)
        return Fit("string")

    def bounds(self, header: str, source: Source) -> tuple[float, float]:
        """Return the smallest and the largest number of a column of numbers."""
        number = typed_value(self._column(header, source)["text"], "number", source)
        row = self._engine.to_pyarrow(number.as_table().aggregate(low=number.min(), high=number.max())).to_pylist()[0]
        return row["low"], row["high"]

    def _column(self, header: str, source: Source) -> ibis.Table:
        text = trimmed(self._table[f"column_{self.headers.index(header)}"], source)
        texts = self._table.select(text=text)
        return texts.filter(texts["text"].notnull())


def read_table(table: Path) -> tuple[Source, Texts]:
    """Return a source in the guessed format of a file, and the texts of the file.

    Args:
        table: A CSV file with a header, a JSON-lines file or a Parquet file.

    Raises:
        CorruptFileError: The file cannot be read.
        EmptyFileError: The file has no content.
    """
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
    return source, Texts(read_local_file(source, table))


def with_guesses(source: Source, texts: Texts, label: str) -> tuple[Source, Mapping[str, Fit]]:
    """Add the decimal separator, the date order and the null tokens where the table shows them.

    Args:
        source: The source, with the format of the table.
        texts: The texts of the table.
        label: The header of the label's column.

    Returns:
        The source, and the type of each column.
    """
    fits = {header: texts.fit(header, source) for header in texts.headers}
    guessed, ambiguous = _with_decimal_separator(source, texts, fits)
    unknown = [header for header, fit in fits.items() if fit.type == "string"]

    def refitted(source: Source) -> dict[str, Fit]:
        return {header: Fit("string") if header in ambiguous else texts.fit(header, source) for header in fits}

    orders = {order: guessed.model_copy(update={"date_order": order}) for order in ("dmy", "mdy")}
    written = [header for header in unknown if texts.has(header, "[0-9]{1,2}[./-][0-9]{1,2}[./-][0-9]{4}")]
    dates = {
        order: {header for header in written if texts.fit(header, ordered).type in DATES}
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


def _with_decimal_separator(source: Source, texts: Texts, fits: Mapping[str, Fit]) -> tuple[Source, Collection[str]]:
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


def table_columns(texts: Texts, source: Source, fits: Mapping[str, Fit]) -> list[TableColumn]:
    """Return the columns of the table, with names that a project accepts.

    Args:
        texts: The texts of the table.
        source: The source, with all guesses.
        fits: The type of each column.
    """
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
