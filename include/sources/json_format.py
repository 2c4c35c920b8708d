"""Read a file of JSON lines: one object per line, whose numbers keep their exact text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from include.projects.sources import Files
from include.sources.csv_format import UnreadableRow
from include.sources.file_content import ContentError, OpenFile, text_of, undecodable


def _exact(token: str) -> msgspec.Raw:
    # A number would lose digits as a float.
    return msgspec.Raw(token.encode())


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} occurs twice")
    return content


_EXACT = json.JSONDecoder(parse_int=_exact, parse_float=_exact, parse_constant=str, object_pairs_hook=_object)
_TEXTS = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=_object)
"""Decodes numbers to their texts, in half the time of ``_EXACT``."""

_SIMPLE = {str, bool, type(None)}


def json_objects(
    open_file: OpenFile, files: Files, unreadable: list[UnreadableRow]
) -> Iterator[tuple[int, dict[str, Any], str]]:
    """Return the objects of a file with their row numbers and lines; blank lines are left out.

    Numbers are texts.

    Args:
        open_file: Opens the file.
        files: The encoding, and the effect of a line that is not a JSON object.
        unreadable: With ``unreadable_rows: quarantine``, such lines are added to this list.

    Raises:
        ContentError: The file cannot be read.
    """
    number = 0
    try:
        with open_file() as stream:
            for position, line in enumerate(text_of(stream, files.encoding), 1):
                if not line.strip():
                    continue
                number += 1
                try:
                    yield number, _parse(line), line
                except (ValueError, RecursionError) as error:
                    if files.unreadable_rows == "refuse":
                        raise _problem(position, line.strip(), error) from error
                    unreadable.append(UnreadableRow(number, str(error), line.rstrip("\r\n")))
    except UnicodeError as error:
        raise undecodable(open_file, files.encoding) or ContentError(str(error)) from error


def json_texts(content: dict[str, Any], line: str, keys: Sequence[str]) -> tuple[list[str | None], str | None]:
    """Return the values of some keys as texts, and the other keys as JSON; None if there are no other keys.

    A string is its text, a number is as written, and an object or array is JSON.

    Args:
        content: An object of ``json_objects``, which is emptied.
        line: Its line.
        keys: The keys.
    """
    values = [content.pop(key, None) for key in keys]
    if content or not _SIMPLE.issuperset(map(type, values)):
        content = _EXACT.decode(line)
        values = [content.pop(key, None) for key in keys]
    return [_text(value) for value in values], _text(content or None)


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode()


def _parse(line: str) -> dict[str, Any]:
    content = _TEXTS.decode(line)
    if not isinstance(content, dict):
        raise ValueError("it is not a JSON object")
    if "\\ud" in line.lower():
        json.dumps(content, ensure_ascii=False).encode()  # half of a surrogate pair is not a character
    return content


def _problem(number: int, line: str, error: Exception) -> ContentError:
    reason = str(error)
    if isinstance(error, json.JSONDecodeError):
        reason = f"{error.msg} at character {error.colno}"
        cause = "a line that was cut off, or another format"
        if line.startswith("["):
            cause = "a JSON array; the format jsonl has one object per line"
        elif line in ("{", "}"):
            cause = "an object over several lines; the format jsonl has one object per line"
        elif line.endswith(","):
            cause = "a comma at the end of the line"
        reason += f"; the likely cause is {cause}"
    return ContentError(
        f"line {number} cannot be read: {reason}",
        "Ask for a new delivery, or set unreadable_rows: quarantine in sources.yaml to load the other rows.",
    )
