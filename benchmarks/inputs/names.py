"""Names of columns, features, folders and files that are easily confused.

A *twin* is a column whose name differs from that of another column only in case.
"""
# ruff: noqa: E501 - an input is one line

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.inputs.library import (
    JSON_ORDER,
    Input,
    Refused,
    Right,
    csv_text,
    deliver_orders,
    json_line,
    parquet_bytes,
    parquet_order,
)
from benchmarks.inputs.shop import DAY, ORDER, Shop

_FILE = f"orders/{DAY}.csv"
_HEADER = ",".join(ORDER)
_ROW = ",".join(ORDER.values())
_DECOMPOSED = unicodedata.normalize("NFD", "prämie")


def _csv(
    name: str, header: str, row: str, expected: Right | Refused, column: str = "amount", **delivered: str
) -> Input:
    """Return the input of a header and a row.

    Args:
        name: The input's name.
        header: The header line.
        row: The other line.
        expected: The outcome.
        column: The column whose value in silver counts.
        **delivered: The names of columns in the delivery.
    """

    def deliver(shop: Shop) -> object:
        for declared, found in delivered.items():
            shop.orders["columns"][declared]["delivered_as"] = found
        deliver_orders(shop, f"{header}\n{row}\n")
        return shop.silver(column)

    return Input(name, deliver, expected)


def _columns(name: str, rename: Mapping[str, str], more: Mapping[str, str], expected: Right | Refused) -> Input:
    """Return the input of a CSV with renamed and further columns.

    Args:
        name: The input's name.
        rename: The names in the delivery.
        more: Further columns and their values.
        expected: The outcome; the value is the amount.
    """
    cells = {rename.get(column, column): text for column, text in ORDER.items()} | dict(more)
    header, row = csv_text([cells]).splitlines()
    return _csv(name, header, row, expected)


def _declared(name: str, column: str, expected: Right | Refused) -> Input:
    """Return the input of a project that declares a column of this name, which is delivered."""

    def deliver(shop: Shop) -> object:
        shop.orders["columns"][column] = {"type": "string"}
        deliver_orders(shop, csv_text([ORDER | {column: "x"}]))
        return shop.silver(column)

    return Input(name, deliver, expected)


def _feature(name: str, feature: str, expected: Right | Refused) -> Input:
    def deliver(shop: Shop) -> object:
        features = shop.yaml["features.yaml"]["features"]
        features[-1]["name"] = feature
        shop.write(_FILE, csv_text([ORDER]))
        shop.ingest()
        return shop.gold(feature).get(f"{DAY} 1")

    return Input(name, deliver, expected)


def _no_feature_fits(shop: Shop) -> object:
    for feature in shop.yaml["features.yaml"]["features"]:
        feature["type"] = "sum"
    return shop.project()


_FORMATS: dict[str, Callable[[str], bytes]] = {
    "csv": lambda order: csv_text([ORDER | {"order_id": order}]).encode(),
    "jsonl": lambda order: json_line(JSON_ORDER | {"order_id": f'"{order}"'}).encode(),
    "parquet": lambda order: parquet_bytes(parquet_order(order_id=[order])),
}


def _folder(folder: str, decoy: str, extension: str) -> Input:
    """Return the input of a file in a folder whose name is a pattern that fits a sibling folder."""

    def deliver(shop: Shop) -> object:
        for name in (decoy, folder):
            shop.write(f"{name}/{DAY}.{extension}", _FORMATS[extension](name))
        shop.orders["files"] = {"format": extension, "path": f"{folder}/{{day}}.{extension}"}
        shop.ingest_orders()
        return shop.silver("order_id")

    return Input(f"{extension} in folder {folder}", deliver, Right([folder]))


def _parquet_twins(*names: str) -> Callable[[Shop], object]:
    def deliver(shop: Shop) -> object:
        texts = [(name, text) for name, text in ORDER.items() if name != "amount"]
        columns = [*texts, *((name, "12.50" if name == "amount" else "9") for name in names)]
        deliver_orders(shop, parquet_bytes({name: [text] for name, text in columns}), "parquet")
        return shop.silver("amount")

    return deliver


def _parquet_duplicate(shop: Shop) -> object:
    names = [*ORDER, "amount"]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_arrays([pa.array([ORDER[name]]) for name in names], names), sink)
    deliver_orders(shop, sink.getvalue().to_pybytes(), "parquet")
    return shop.silver("amount")


def _json_twins(shop: Shop) -> object:
    deliver_orders(shop, json_line({"AMOUNT": "9"} | JSON_ORDER | {"Amount": "8"}), "jsonl")
    return shop.silver("amount")


def _json_dotted_key(shop: Shop) -> object:
    shop.orders["columns"]["amount"]["delivered_as"] = 'a.b["c"]'
    deliver_orders(
        shop, json_line({'a.b["c"]' if name == "amount" else name: text for name, text in JSON_ORDER.items()}), "jsonl"
    )
    return shop.silver("amount")


_RIGHT = Right(["12.5000"])
_ODD = 'it\'s "5" [x], 100% *?'

INPUTS = [
    Input("Parquet twin before", _parquet_twins("AMOUNT", "amount"), _RIGHT),
    Input("Parquet twin after", _parquet_twins("amount", "AMOUNT"), _RIGHT),
    Input("Parquet twin instead", _parquet_twins("Amount"), Refused("'amount'", "'Amount'", ".parquet")),
    Input("Parquet name twice", _parquet_duplicate, Refused("'amount'", ".parquet")),
    Input("JSON twins", _json_twins, _RIGHT),
    Input("JSON key that looks like a path", _json_dotted_key, _RIGHT),
    _csv("twin before", f"AMOUNT,{_HEADER}", f"9,{_ROW}", _RIGHT),
    _csv("twin after", f"{_HEADER},AMOUNT", f"{_ROW},9", _RIGHT),
    _columns("twin instead", {"amount": "Amount"}, {}, Refused("'amount'", "'Amount'", f"{DAY}.csv")),
    _columns("blank before", {"amount": " amount"}, {}, Refused("'amount'", "' amount'", f"{DAY}.csv")),
    _columns("no column that looks like it", {"amount": "total"}, {}, Refused("'amount'", f"{DAY}.csv")),
    _columns("another normal form", {"note": _DECOMPOSED}, {}, Refused("'note'", f"{DAY}.csv")),
    _csv("name twice", f"{_HEADER},amount", f"{_ROW},9", Refused("'amount'", "10", f"{DAY}.csv")),
    _csv("undeclared name twice", f"{_HEADER},x,x", f"{_ROW},1,2", Refused("'x'", "10", "11", f"{DAY}.csv")),
    _csv("index column of pandas", f",{_HEADER}", f"0,{_ROW}", _RIGHT),
    _csv("two columns without a name", f",{_HEADER},", f"0,{_ROW},1", _RIGHT),
    _csv("comma at the end of all lines", f"{_HEADER},", f"{_ROW},", _RIGHT),
    _csv("comma at the end of the rows", _HEADER, f"{_ROW},", Refused("line 2 has 10 values instead of 9", f"{DAY}.csv")),
    _csv("comma at the end of the header", f"{_HEADER},", _ROW, Refused("line 2 has 9 values instead of 10", f"{DAY}.csv")),
    _csv("byte-order mark", f"\ufeff{_HEADER}", _ROW, Right(["a"]), "order_id"),
    _csv("byte-order mark before a quoted name", '\ufeff"order_id"' + _HEADER[8:], _ROW, Right(["a"]), "order_id"),
    _csv("delivered with blanks", _HEADER.replace("amount", " Amount "), _ROW, _RIGHT, amount=" Amount "),
    _csv("delivered as a keyword", _HEADER.replace("amount", "select"), _ROW, _RIGHT, amount="select"),
    _csv("delivered as a name of the lake", _HEADER.replace("amount", "dt"), _ROW, _RIGHT, amount="dt"),
    _csv("delivered as the file", _HEADER.replace("amount", "_file"), _ROW, _RIGHT, amount="_file"),
    _columns("delivered names of the lake", {}, {"dt": "1", "_file": "2", "_row": "3", "_undeclared": "4"}, _RIGHT),
    _columns("delivered name with quotes", {}, {_ODD: "9", "a'b": "8", 'a"b': "7", "$x": "6"}, _RIGHT),
    _declared("keyword", "select", Right(["x"])),
    _declared("name with a blank", "order date", Right(["x"])),
    _declared("name with quotes", "it's \"5\"", Right(["x"])),
    _declared("name with brackets and comma", "x[1], y", Right(["x"])),
    _declared("name in Greek", "\u03ba\u03cc\u03c3\u03c4\u03bf\u03c2", Right(["x"])),
    _declared("normal form that is not composed", _DECOMPOSED, Right(["x"])),
    _declared("reserved name dt", "dt", Refused("sources.yaml", "dt", "reserved")),
    _declared("reserved name DT", "DT", Refused("sources.yaml", "DT", "reserved")),
    _declared("reserved name _file", "_file", Refused("sources.yaml", "_file", "reserved")),
    _declared("reserved name _undeclared", "_undeclared", Refused("sources.yaml", "_undeclared", "reserved")),
    _declared("declared twins", "AMOUNT", Refused("sources.yaml", "AMOUNT", "amount")),
    _feature("feature customer_id", "customer_id", Refused("features.yaml", "customer_id", "reserved")),
    _feature("feature dt", "dt", Refused("features.yaml", "dt", "reserved")),
    _feature("feature with the name of a source", "orders", Right("424.0")),
    Input("every feature wrong", _no_feature_fits, Refused("features.yaml", "type")),
    *(
        _folder(folder, decoy, extension)
        for extension in _FORMATS
        for folder, decoy in (("orders[eu]", "orderse"), ("order*", "orders"), ("order?", "orders"))
    ),
    _folder("my orders", "my%20orders", "csv"),
    _folder("orders%20eu", "orders eu", "csv"),
    _folder("it's", "its", "csv"),
    _folder("\u00fcbersicht", "ubersicht", "parquet"),
    _folder("orders#1", "orders", "jsonl"),
]  # fmt: skip
