"""Guess the format and the dialect of a file from its content."""

from __future__ import annotations

import csv
import re
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import IO, Any

from include.projects.sources import Files
from include.sources.csv_format import SEPARATOR_LINE, SEPARATORS
from include.sources.file_content import COMPRESSIONS, HEAD_BYTES, compression_of, recognised, text_of, undecodable
from include.sources.storage import DailyFiles, StoredFile

_LINES = 200
"""Number of lines from which the separator and the quote are guessed."""


def guess_files(path: Path) -> Files:
    """Return the format of a file; keys with their default values are not set.

    The guess can be wrong, for example if the file is damaged; the reader then raises an error.

    Args:
        path: A local file.
    """
    with path.open("rb") as file:
        kind = recognised(file.read(HEAD_BYTES))
    compression = kind if kind and kind in COMPRESSIONS.values() else "none"
    found: dict[str, Any] = {} if compression == compression_of(path.name) else {"compression": compression}

    def open_file() -> AbstractContextManager[IO[bytes]]:
        return DailyFiles(str(path), compression).open(StoredFile(str(path), path.stat().st_size))

    with open_file() as stream:
        kind = recognised(stream.read(HEAD_BYTES))
    if kind == "Parquet":
        return Files(format="parquet", path="{day}.parquet")
    encoding = (
        kind
        if kind and kind.startswith("utf-")
        else next((name for name in ("utf-8", "cp1252") if undecodable(open_file, name) is None), "latin-1")
    )
    if encoding != "utf-8":
        found["encoding"] = encoding
    with open_file() as stream:
        lines = list(islice(text_of(stream, encoding), _LINES))
    if lines and lines[0].lstrip().startswith("{"):
        return Files(format="jsonl", path="{day}.jsonl", **found)
    return Files(format="csv", path="{day}.csv", **found | _dialect(lines))


def _dialect(lines: list[str]) -> dict[str, str]:
    stated = SEPARATOR_LINE.fullmatch(lines[0]) if lines else None
    lines = lines[1:] if stated else lines
    quote = "'" if not any('"' in line for line in lines) and any(map(_has_single_quotes, lines)) else '"'
    separator = stated[1] if stated else max(SEPARATORS, key=lambda mark: _fit(lines, mark, quote))
    found = {"separator": separator, "quote": quote}
    return {key: value for key, value in found.items() if value != Files.model_fields[key].default}


def _has_single_quotes(line: str) -> bool:
    return re.search(r"(^|[,;\t|])'[^']*'([,;\t|\r\n]|$)", line) is not None


def _fit(lines: list[str], separator: str, quote: str) -> tuple[float, int]:
    """Return the share of rows with as many values as the header, and this number; zeros if it is one."""
    rows = [row for row in csv.reader(lines, delimiter=separator, quotechar=quote) if row]
    if not rows or len(rows[0]) < 2:
        return 0, 0
    return sum(len(row) == len(rows[0]) for row in rows) / len(rows), len(rows[0])
