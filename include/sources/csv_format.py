"""Read a CSV file in its declared dialect; an error states the line, what was found and the likely cause."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa
from pyarrow import csv as arrow_csv

from include.plurals import counted
from include.projects.sources import Files
from include.sources.file_content import ContentError, OpenFile, text_of, undecodable

SEPARATORS = ",;\t|"
"""The separators that are guessed and suggested."""

SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
"""The line before the header with which Excel states the separator."""

_BLOCK_BYTES = 8_000_000
"""The largest size of a row; a file is read in blocks of this size."""

csv.field_size_limit(_BLOCK_BYTES)


class UnreadableRow(NamedTuple):
    """A row that cannot be read: its number in the file, from 1, the reason, and its text."""

    number: int
    reason: str
    text: str


class _Utf8(io.RawIOBase):
    """The rest of a text stream, encoded as UTF-8."""

    def __init__(self, text: io.TextIOWrapper, quote: str) -> None:
        self._text, self._quote = text, quote
        self.has_quotes = False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        part = self._text.read(size)
        self.has_quotes = self.has_quotes or self._quote in part
        return part.encode()


def csv_header(open_file: OpenFile, files: Files) -> list[str]:
    """Return the names in the header.

    Args:
        open_file: Opens the file.
        files: The dialect.

    Raises:
        ContentError: The header cannot be read.
    """
    with open_file() as stream:
        try:
            return _read_header(text_of(stream, files.encoding), files)
        except (UnicodeError, csv.Error) as error:
            raise undecodable(open_file, files.encoding) or ContentError(f"its header is damaged: {error}") from error


def csv_tables(
    open_file: OpenFile, files: Files, header: list[str], unreadable: list[UnreadableRow]
) -> Iterator[pa.Table]:
    """Return the rows of a file in parts, as texts in columns that are named by their positions ``0``, ``1``, ...

    An empty value without quotes is null.

    Args:
        open_file: Opens the file.
        files: The dialect.
        header: The names in the header.
        unreadable: With ``unreadable_rows: quarantine``, rows with too many or too few values are added to this list.

    Raises:
        ContentError: The rows cannot be read.
    """
    try:
        with open_file() as stream:
            text = text_of(stream, files.encoding)
            _read_header(text, files)
            rest = _Utf8(text, files.quote)
            for batch in _open(rest, files, len(header), unreadable):
                yield pa.Table.from_batches([batch])
    except (UnicodeError, pa.ArrowInvalid) as error:
        raise _problem(open_file, files, header) or ContentError(str(error)) from error
    # Arrow accepts text after a closing quote, and a last value without its closing quote.
    if rest.has_quotes and (problem := _problem(open_file, files, header)):
        raise problem


def _open(rest: _Utf8, files: Files, columns: int, unreadable: list[UnreadableRow]) -> Iterator[pa.RecordBatch]:
    def skip(row: arrow_csv.InvalidRow) -> str:
        reason = f"{counted(row.actual_columns, 'value')} instead of {row.expected_columns}"
        unreadable.append(UnreadableRow(row.number, reason, row.text))
        return "skip"

    names = [str(position) for position in range(columns)]
    try:
        yield from arrow_csv.open_csv(
            pa.PythonFile(rest, mode="r"),
            read_options=arrow_csv.ReadOptions(column_names=names, block_size=_BLOCK_BYTES, use_threads=False),
            parse_options=arrow_csv.ParseOptions(
                delimiter=files.separator,
                quote_char=files.quote,
                newlines_in_values=True,
                invalid_row_handler=skip if files.unreadable_rows == "quarantine" else None,
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid as error:
        if "Empty CSV file" not in str(error):
            raise


def _read_header(text: io.TextIOWrapper, files: Files) -> list[str]:
    """Read the header, and the line ``sep=;`` before it, with which Excel states the separator."""
    first = text.readline()
    if stated := SEPARATOR_LINE.fullmatch(first):
        if stated[1] != files.separator:
            raise ContentError(
                f"line 1 states the separator {stated[1]!r}", f"Set separator: {stated[1]!r} in sources.yaml."
            )
        first = text.readline()
    rows = csv.reader(_Lines(first, text), delimiter=files.separator, quotechar=files.quote, strict=True)
    return next((row for row in rows if row), [])


class _Lines(Iterator[str]):
    """A line, followed by the lines of a text stream."""

    def __init__(self, first: str, text: io.TextIOWrapper) -> None:
        self._first, self._text = first, text

    def __next__(self) -> str:
        # The method readline of a text stream leaves the rest of the text readable, unlike its iteration.
        line, self._first = self._first or self._text.readline(), ""
        if not line:
            raise StopIteration
        return line


def _problem(open_file: OpenFile, files: Files, header: list[str]) -> ContentError | None:
    """Return the first problem that the strict parser of the standard library finds in the file."""
    skipped = 0
    line = 1
    try:
        with open_file() as stream:
            text = text_of(stream, files.encoding)
            first = text.readline()
            if SEPARATOR_LINE.fullmatch(first):
                skipped, first = 1, text.readline()
            rows = csv.reader(_Lines(first, text), delimiter=files.separator, quotechar=files.quote, strict=True)
            for row in rows:
                if len(row) not in (0, len(header)) and files.unreadable_rows == "refuse":
                    return _ragged(skipped + line, row, header, files, is_last=not text.readline())
                line = rows.line_num + 1
    except UnicodeError:
        return undecodable(open_file, files.encoding)
    except csv.Error as error:
        with open_file() as stream:
            escaped = b'\\"' in stream.read(_BLOCK_BYTES)
        cause = (
            "quotes that are escaped by a backslash, where CSV writes them twice"
            if escaped
            else "a quote that is not written twice, or a file that was cut off"
        )
        return ContentError(
            f"in the row that begins in line {skipped + line}, a value in quotes does not end before a separator or"
            f" line break ({error}); the likely cause is {cause}",
            "Set another quote for the source in sources.yaml, or ask for a new delivery.",
        )
    return None


def _ragged(line: int, row: list[str], header: list[str], files: Files, is_last: bool) -> ContentError:
    what = f"line {line} has {counted(len(row), 'value')} instead of {len(header)}"
    if separator := other_separator(header, files):
        return separator_error(separator, what)
    if len(header) == 1:
        cause = "the file has a line of text before its header"
    elif len(row) == len(header) + 1 and not row[-1].strip():
        cause = "the line ends with a separator, but the header does not"
    elif len(row) > len(header):
        cause = f"a value that contains {files.separator!r} is not in quotes"
    elif is_last:
        cause = "the file was cut off, or ends with a line that is no row"
    else:
        cause = "the line was cut off, or a line break within a value is not in quotes"
    return ContentError(
        f"{what}; the likely cause is that {cause}",
        "Ask for a new delivery, or set unreadable_rows: quarantine in sources.yaml to load the other rows.",
    )


def other_separator(header: list[str], files: Files) -> str | None:
    """Return the separator in a header that is a single name in the declared dialect; None if there is none.

    Args:
        header: The names in the header.
        files: The dialect.
    """
    others = (mark for mark in SEPARATORS if mark != files.separator and mark in header[0])
    return next(others, None) if len(header) == 1 else None


def separator_error(separator: str, what: str) -> ContentError:
    """Return the error for a file with another separator than the declared one.

    Args:
        separator: The separator in the header.
        what: What was found.
    """
    return ContentError(
        f"{what}; the likely cause is another separator: {separator!r}",
        f"Set separator: {separator!r} for the source in sources.yaml.",
    )
