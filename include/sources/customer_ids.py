"""The customers of bronze rows, by their ids as gold has them.

The text of an id depends on the source: a source with the type ``integer`` may deliver ``00123`` for the customer whom
gold calls ``123``. An id that cannot be read as its type is compared as text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable

import ibis
import pyarrow as pa
import pyarrow.compute as pc

from include.lake import connect
from include.projects import Source
from include.sources.bronze_tables import UNDECLARED, UNREADABLE_START
from include.sources.column_types import trimmed, typed_value

IsWanted = Callable[[str], bool]
"""Whether an id, as gold has it, is the id of a wanted customer."""

_QUOTES = re.compile(r"[\"']")
_MARKS = re.compile(r"[\s,;|:\"'{}\[\]]+")


class CustomerRows:
    """The rows of some customers in the bronze rows of one source.

    Args:
        source: The configuration of the source, with a customer column.
        is_wanted: Whether a customer is one of these customers. The answer for an id must not change.
    """

    def __init__(self, source: Source, is_wanted: IsWanted) -> None:
        self.source = source
        self.column = source.customer or ""
        self._is_wanted = is_wanted
        self._known: dict[str, bool] = {}

    def values(self, rows: pa.Table) -> dict[str, list[str]]:
        """Return the values by which the customers' rows are found, by column.

        A row that could not be read belongs to a customer if its id is a value in the text of the row.

        Args:
            rows: Bronze rows, or distinct values; only the customer column and ``_undeclared`` are read.
        """
        texts = _distinct(rows[self.column])
        undeclared = pc.drop_null(rows[UNDECLARED])
        unreadable = _distinct(undeclared.filter(pc.starts_with(undeclared, UNREADABLE_START)))
        words = {text: _words(self.source, json.loads(text)["_unreadable"]["text"]) for text in unreadable}
        self._look_up({*texts}.union(*words.values()))
        found = {
            self.column: [text for text in texts if self._known[text]],
            UNDECLARED: [text for text, of in words.items() if any(self._known[word] for word in of)],
        }
        return {column: values for column, values in found.items() if values}

    def without(self, rows: pa.Table) -> pa.Table:
        """Return bronze rows without the rows of the customers, in their order."""
        for column, values in self.values(rows).items():
            rows = rows.filter(pc.invert(pc.is_in(rows[column], value_set=pa.array(values, pa.string()))))
        return rows

    def _look_up(self, texts: set[str]) -> None:
        if unknown := texts - self._known.keys():
            ids = gold_ids(self.source, unknown)
            self._known |= {text: text in ids and self._is_wanted(ids[text]) for text in unknown}


def gold_ids(source: Source, texts: Iterable[str]) -> dict[str, str]:
    """Return the id in gold for each text in the customer column of a source; texts without an id are left out.

    Args:
        source: The configuration of the source, with a customer column.
        texts: The texts, as bronze has them.
    """
    rows = ibis.memtable(pa.table({"text": pa.array(sorted(set(texts)), pa.string())}))
    text = trimmed(rows["text"], source)
    value = typed_value(text, source.columns[source.customer or ""].type, source).cast("string")
    found = connect().to_pyarrow(rows.select("text", id=ibis.coalesce(value, text))).to_pylist()
    return {row["text"]: row["id"] for row in found if row["id"] is not None}


def _distinct(texts: pa.ChunkedArray) -> list[str]:
    return [text for text in pc.unique(texts).to_pylist() if text is not None]


def _words(source: Source, text: str) -> set[str]:
    """Return the parts of a row's text that may be values: an id can contain every mark but the separator or quote."""
    separator = source.files.separator if source.files else ","
    quote = source.files.quote if source.files else '"'
    fields = {part.strip().strip(quote) for part in text.split(separator)}
    return fields | set(_QUOTES.split(text)) | set(_MARKS.split(text))
