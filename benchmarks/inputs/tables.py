"""Tables with one row per customer that become a project (``projects new``) and its first delivery."""
# ruff: noqa: E501 - an input is one line

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Sequence

import pyarrow as pa

from benchmarks.inputs.library import Input, Outcome, Refused, Right, csv_text, json_line, parquet_bytes
from benchmarks.inputs.shop import Shop

_IDS = [str(number) for number in range(101, 111)]
_PLANS = ["basic", "pro"] * 5
_USAGE = [f"{number}.5" for number in range(1, 11)]
_CHURN = ["yes"] * 4 + ["no"] * 6
_COLUMNS = {"id": _IDS, "plan": _PLANS, "usage": _USAGE, "churn": _CHURN}


def _csv(columns: dict[str, list[str]], separator: str = ",") -> str:
    return csv_text([dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)], separator)


def _table(
    name: str,
    content: str | bytes,
    expected: Outcome | str,
    header: str = "usage",
    file: str = "table.csv",
    customer: str = "id",
    label: tuple[str, str] = ("churn", "yes"),
) -> Input:
    """Return the input of a table that becomes a project, which then ingests the table.

    Args:
        name: The input's name.
        content: The table.
        expected: The outcome, or the type of a column and its value in the first row of silver; four of the ten
            customers have churned.
        header: The column's header.
        file: The table's name.
        customer: The header of the customer's id.
        label: The header of the label, and the label of churned customers.
    """

    def deliver(shop: Shop) -> object:
        path = shop.settings.home / file
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        shop.scaffold(path, customer, label)
        shop.ingest()
        source = shop.project().sources["customers"]
        column = next(name for name in source.columns if source.delivered_name(name) == header)
        labels = list(shop.labels().values())
        value = shop.silver(column, "customers")[0]
        return f"{source.columns[column].type} {value}, {labels.count('1')} of {len(labels)} churned"

    return Input(name, deliver, Right(f"{expected}, 4 of 10 churned") if isinstance(expected, str) else expected)


def _column(name: str, header: str, texts: str | Sequence[str], expected: Outcome | str) -> Input:
    """Return the input of a further column, whose texts are one text repeated, or ten."""
    values = [texts] * 10 if isinstance(texts, str) else list(texts)
    return _table(name, _csv(_COLUMNS | {header: values}), expected, header)


def _label(name: str, labels: list[str], expected: Outcome, value: str = "yes") -> Input:
    return _table(name, _csv(_COLUMNS | {"churn": labels}), expected, label=("churn", value))


def _renamed(name: str, old: str, new: str) -> Input:
    """Return the input of a table with another name of the id or of the label."""
    columns = {new if column == old else column: texts for column, texts in _COLUMNS.items()}
    customer, label = (new if column == old else column for column in ("id", "churn"))
    return _table(name, _csv(columns), "number 1.5", customer=customer, label=(label, "yes"))


def _excel() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
    return stream.getvalue()


_TEXT = _csv(_COLUMNS)
_LINES = _TEXT.splitlines()
_CITY = _csv(_COLUMNS | {"city": ["Z\u00fcrich"] * 10})
_GERMAN = _csv(_COLUMNS | {"usage": [text.replace(".", ",") for text in _USAGE]}, ";")
_JSON = "".join(
    json_line({name: f'"{text}"' for name, text in zip(_COLUMNS, row, strict=True)})
    for row in zip(*_COLUMNS.values(), strict=True)
)
_NUMBERS = [str(number) for number in range(1, 11)]

INPUTS = [
    _table("plain", _TEXT, "number 1.5"),
    # names
    _table("index column of pandas", "\n".join(f"{number or ''},{line}" for number, line in enumerate(_LINES)), "number 1.5"),
    _table("comma at the end of all lines", ",\n".join(_LINES) + ",\n", "number 1.5"),
    _table("comma at the end of the rows", "\n".join([_LINES[0], *(f"{line}," for line in _LINES[1:])]) + "\n", Refused(".csv", "line 2 has 5 values instead of 4")),
    _table("header twice", _TEXT.replace("plan", "usage", 1), Refused("table.csv", "the columns 2 and 3 are both named 'usage'")),
    _table("headers that differ in case", _TEXT.replace("plan", "Usage", 1), "number 1.5"),
    *(
        _column(f"header {header!r}", header, _NUMBERS, "integer 1")
        for header in (
            " visits ", "rate?", "x[1]", "price, net", "off", "null", "yes", "a: b", "# x", "- x", "{x}", "5", "it's",
            'say "x"', "100%", "select", "na\u00efve", "\U0001f600", "dt", "DT", "_row", "rules", "Customer ID", "x" * 300,
        )
    ),
    _renamed("label called Churn?", "churn", "Churn?"),
    _renamed("label called dt", "churn", "dt"),
    _renamed("label called churned", "churn", "churned"),
    _renamed("id called Customer ID", "id", "Customer ID"),
    _renamed("id called dt", "id", "dt"),
    # types
    _column("numbers of twenty digits", "sim", [f"8949020000123456789{number}" for number in range(10)], "string 89490200001234567890"),
    _column("numbers with leading zeros", "zip", [f"0123{number}" for number in range(10)], "string 01230"),
    _column("numbers by pandas", "visits", [f"{number}.0" for number in _NUMBERS], "integer 1"),
    _column("numbers with thousands commas", "visits", [f"{number},234" for number in _NUMBERS], "string 1,234"),
    _column("numbers with underscores", "visits", [f"{number}_000" for number in _NUMBERS], "string 1_000"),
    _column("numbers with a question mark", "visits", ["?", *_NUMBERS[1:]], "integer None"),
    _column("numbers with NA", "visits", ["NA", *_NUMBERS[1:]], "integer None"),
    _column("dates", "since", [f"2025-01-{day:02}" for day in range(1, 11)], "date 2025-01-01"),
    _column("dates by day and month", "since", [f"{day}/01/2025" for day in range(13, 23)], "date 2025-01-13"),
    _column("dates by month and day", "since", [f"01/{day}/2025" for day in range(13, 23)], "date 2025-01-13"),
    _column("dates of an unknown order", "since", [f"01/0{day % 9 + 1}/2025" for day in range(10)], "string 01/01/2025"),
    _column("dates with two-digit years", "since", [f"{day}/01/25" for day in range(13, 23)], "string 13/01/25"),
    _column("dates that are infinite", "since", ["infinity"] * 5 + ["2025-01-01"] * 5, "string infinity"),
    # dialects
    _table("semicolon", _TEXT.replace(",", ";"), "number 1.5"),
    _table("tab", _TEXT.replace(",", "\t"), "number 1.5"),
    _table("pipe", _TEXT.replace(",", "|"), "number 1.5"),
    _table("semicolon and decimal comma", _GERMAN, "number 1.5"),
    _table("cp1252", _CITY.encode("cp1252"), "string Z\u00fcrich", "city"),
    _table("UTF-16", _CITY.encode("utf-16"), "string Z\u00fcrich", "city"),
    _table("byte-order mark", _TEXT.encode("utf-8-sig"), "string 101", "id"),
    _table("gzip", gzip.compress(_TEXT.encode()), "number 1.5", file="table.csv.gz"),
    _table("gzip without its extension", gzip.compress(_TEXT.encode()), "number 1.5"),
    _table("JSON lines", _JSON, "number 1.5", file="table.jsonl"),
    _table("Parquet", parquet_bytes(_COLUMNS | {"visits": pa.array([2**60] * 10)}), f"string {2**60}", "visits", "table.parquet"),
    _table("Parquet called CSV", parquet_bytes(_COLUMNS), "number 1.5"),
    _table("Excel", _excel(), Refused("table.xlsx", "Excel"), file="table.xlsx"),
    _table("short row", _TEXT + "111,basic\n", Refused("table.csv", "line 12 has 2 values instead of 4")),
    # ids and labels
    _table("ids with leading zeros", _csv(_COLUMNS | {"id": [f"0{text}" for text in _IDS]}), "string 0101", "id"),
    _table("id twice", _csv(_COLUMNS | {"id": [*_IDS[:9], "101"]}), Refused("table.csv", "10 rows", "9", "'id'")),
    _table("id that is empty", _csv(_COLUMNS | {"id": [*_IDS[:9], ""]}), Refused("table.csv", "10 rows", "9", "'id'")),
    _table("header only", _LINES[0] + "\n", Refused("table.csv", "0 rows")),
    _table("no such id", _TEXT, Refused("table.csv", "'account'"), customer="account"),
    _table("no column for a feature", _csv({"id": _IDS, "churn": _CHURN}), Refused("table.csv", "feature")),
    _label("label NA", ["yes"] * 4 + ["no"] * 3 + ["NA"] * 3, Right("number 1.5, 4 of 7 churned")),
    _label("label empty", ["yes"] * 4 + ["no"] * 3 + [""] * 3, Right("number 1.5, 4 of 7 churned")),
    _label("label Yes beside yes", ["yes"] * 3 + ["Yes"] + ["no"] * 6, Refused("table.csv", "'churn'", "'Yes'", "'yes'")),
    _label("third label", ["yes"] * 4 + ["no"] * 3 + ["maybe"] * 3, Right("number 1.5, 4 of 10 churned")),
    _label("label that no row has", _CHURN, Refused("table.csv", "'churn'", "'left'"), "left"),
]  # fmt: skip
