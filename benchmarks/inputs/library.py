"""An input with its expected outcome, and inputs of one order."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.inputs.shop import DAY, ORDER, Shop
from include.errors import ChurnflowError

MACHINES = ("UTC", "America/New_York")
"""The time zones of the machines that ingest the library."""


@dataclass(frozen=True)
class Right:
    """The lake has exactly this value, as a text, and no row is in quarantine."""

    value: object


@dataclass(frozen=True, init=False)
class Refused:
    """The delivery or the project is refused, with a message that contains these words; case counts in quoted words."""

    words: tuple[str, ...]

    def __init__(self, *words: str) -> None:
        object.__setattr__(self, "words", words)


@dataclass(frozen=True)
class Quarantined:
    """One row is in quarantine with this rule, and the lake has this value."""

    rule: str
    value: object = ()


Outcome = Right | Refused | Quarantined


@dataclass(frozen=True)
class Input:
    """One odd input.

    Attributes:
        name: Its name, unique within its module.
        deliver: Delivers it to a shop and returns the resulting value.
        expected: The expected outcome.
        machine: The time zone of the machine, if it matters.
    """

    name: str
    deliver: Callable[[Shop], object]
    expected: Outcome
    machine: str | None = None


@dataclass(frozen=True)
class Verdict:
    """The result of an input.

    Attributes:
        name: The input's name.
        figure: ``right``, ``refused_by_name``, ``quarantined``, ``silent_wrong`` or ``crashed``.
        found: The outcome, if it was not the expected one.
    """

    name: str
    figure: str
    found: str = ""


def judge(name: str, item: Input, shop: Shop) -> Verdict:
    """Deliver an input to an empty shop and compare its outcome with the expected one.

    Args:
        name: The input's name in the library.
        item: The input.
        shop: The shop.
    """
    figure, found = _compare(item, shop)
    return Verdict(name, figure, found)


def _compare(item: Input, shop: Shop) -> tuple[str, str]:
    expected = item.expected
    try:
        value = item.deliver(shop)
        rules = shop.quarantine()
    except ChurnflowError as error:
        message = str(error).replace(str(shop.settings.home), "")
        if isinstance(expected, Refused):
            missing = [word for word in expected.words if not _contains(message, word)]
            return ("silent_wrong", f"the message lacks {missing}: {message}") if missing else ("refused_by_name", "")
        return "silent_wrong", f"expected {_short(expected)}, but it was refused: {message}"
    except Exception as error:  # noqa: BLE001 - every other exception is a crash
        return "crashed", f"expected {_short(expected)}, got {type(error).__name__}: {error}"
    if isinstance(expected, Right) and (value, rules) == (expected.value, []):
        return "right", ""
    if isinstance(expected, Quarantined) and (rules, value) == ([expected.rule], expected.value or []):
        return "quarantined", ""
    return "silent_wrong", f"expected {_short(expected)}, found {_short(value)}, quarantine {rules}"


def _contains(message: str, word: str) -> bool:
    # Quoted texts are values, whose case matters.
    return word in message or ("'" not in word and word.lower() in message.lower())


def csv_text(rows: Iterable[Mapping[str, str]], separator: str = ",") -> str:
    """Return rows as CSV with a header."""
    rows = list(rows)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), delimiter=separator, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def parquet_bytes(columns: Mapping[str, Any]) -> bytes:
    """Return columns as a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(pa.table(dict(columns)), sink)
    return sink.getvalue()


def parquet_order(**cells: Any) -> dict[str, Any]:
    """Return an order as Arrow columns of texts, with some columns replaced by arrays."""
    return {name: [text] for name, text in ORDER.items()} | cells


def deliver_orders(shop: Shop, content: str | bytes, extension: str = "csv", **files: Any) -> None:
    """Deliver a file of orders on the first day, and ingest it up to silver.

    Args:
        shop: The shop.
        content: The content of the file.
        extension: The extension of its name.
        **files: The settings of the source's ``files``; by default the format is the first part of the extension.
    """
    shop.orders["files"] = {"format": extension.split(".")[0], "path": f"orders/{{day}}.{extension}"} | files
    shop.write(f"orders/{DAY}.{extension}", content)
    shop.ingest_orders()


def outcome(expected: str | None) -> Outcome:
    """Return the outcome of one cell: its text in silver, or the rule by which its row is in quarantine."""
    is_rule = expected is not None and expected.startswith(("type:", "required:", "after_day:"))
    return Quarantined(str(expected)) if is_rule else Right([expected])


def csv_cell(name: str, column: str, text: str, expected: str | None, **settings: Any) -> Input:
    """Return the input of one value of an order in CSV.

    Args:
        name: The input's name.
        column: The column.
        text: The text of the value.
        expected: See ``outcome``.
        **settings: The settings of the source of orders.
    """

    def deliver(shop: Shop) -> object:
        shop.orders.update(settings)
        shop.declare(column)
        deliver_orders(shop, csv_text([ORDER | {column: text}]))
        return shop.silver(column)

    return Input(name, deliver, outcome(expected))


def json_line(cells: Mapping[str, str]) -> str:
    """Return an order as a line of JSON, from the JSON text of each value."""
    return "{" + ", ".join(f"{json.dumps(name)}: {text}" for name, text in cells.items()) + "}\n"


JSON_ORDER = {name: f'"{text}"' for name, text in ORDER.items()}
"""The JSON texts of an order without oddities."""


def json_cell(name: str, column: str, text: str, expected: str | None) -> Input:
    """Return the input of one value of an order in JSON lines.

    Args:
        name: The input's name.
        column: The column.
        text: The JSON text of the value.
        expected: See ``outcome``.
    """

    def deliver(shop: Shop) -> object:
        shop.declare(column)
        deliver_orders(shop, json_line(JSON_ORDER | {column: text}), "jsonl")
        return shop.silver(column)

    return Input(name, deliver, outcome(expected))


def parquet_cell(
    name: str, column: str, values: pa.Array, expected: str | None, machine: str | None = None, zone: str = "UTC"
) -> Input:
    """Return the input of one value of an order in Parquet.

    Args:
        name: The input's name.
        column: The column.
        values: An array of one value.
        expected: See ``outcome``.
        machine: The time zone of the machine.
        zone: The time zone of the project.
    """

    def deliver(shop: Shop) -> object:
        shop.yaml["project.yaml"]["timezone"] = zone
        shop.declare(column)
        deliver_orders(shop, parquet_bytes(parquet_order(**{column: values})), "parquet")
        return shop.silver(column)

    return Input(name, deliver, outcome(expected), machine)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}... ({len(text)} characters)"
