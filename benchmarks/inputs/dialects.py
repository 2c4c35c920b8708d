"""Files in another dialect, encoding or compression than declared, and damaged files."""
# ruff: noqa: E501 - an input is one line

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from benchmarks.inputs.library import (
    Input,
    Outcome,
    Quarantined,
    Refused,
    Right,
    csv_text,
    deliver_orders,
    parquet_bytes,
    parquet_order,
)
from benchmarks.inputs.shop import DAY, ORDER, Shop

_TEXT = csv_text([ORDER, ORDER | {"order_id": "b", "note": "M\u00fcller"}])
_HEADER, _ROW, _LAST = _TEXT.splitlines()
_ORDERS = Right(["a", "b"])
_GERMAN = csv_text([ORDER | {"amount": "12,50"}], ";")
_NAME = f"{DAY}.csv"


def _file(
    name: str,
    content: str | bytes,
    expected: Outcome,
    extension: str = "csv",
    column: str = "order_id",
    source: dict[str, Any] | None = None,
    **files: Any,
) -> Input:
    """Return the input of one file.

    Args:
        name: The input's name.
        content: The content of the file.
        expected: The outcome.
        extension: The extension of the file's name.
        column: The column whose values in silver count.
        source: Further settings of the source.
        **files: The settings of the source's ``files``.
    """

    def deliver(shop: Shop) -> object:
        shop.orders.update(source or {})
        shop.declare(column)
        deliver_orders(shop, content, extension, **files)
        return shop.silver(column)

    return Input(name, deliver, expected)


def _zip(**files: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, text in files.items():
            archive.writestr(f"{name}.csv", text)
    return stream.getvalue()


def _excel() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return stream.getvalue()


def _zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue().to_pybytes())


_COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": _zstd,
    "zip": lambda content: _zip(orders=content.decode()),
}


def _rows(*lines: str) -> str:
    return "\n".join([_HEADER, *lines, ""])


def _row(**cells: str) -> str:
    """Return a row whose cells are written as they are, without quotes."""
    return ",".join((ORDER | cells).values())


_SHORT, _LONG = "b,1,12.50", f"{_row(order_id='b')},more,and more"

INPUTS = [
    # separators
    _file("semicolon", _TEXT.replace(",", ";"), Refused(_NAME, "separator", "';'")),
    _file("semicolon, declared", _TEXT.replace(",", ";"), _ORDERS, separator=";"),
    _file("tab", _TEXT.replace(",", "\t"), Refused(_NAME, "separator", r"'\t'")),
    _file("tab, declared", _TEXT.replace(",", "\t"), _ORDERS, separator="\t"),
    _file("pipe", _TEXT.replace(",", "|"), Refused(_NAME, "separator", "'|'")),
    _file("pipe, declared", _TEXT.replace(",", "|"), _ORDERS, separator="|"),
    _file("comma, semicolon declared", _TEXT, Refused(_NAME, "separator", "','"), separator=";"),
    _file("sep= line", f"sep=,\n{_TEXT}", _ORDERS),
    _file("comment before the header", f"# orders\n{_TEXT}", Refused(_NAME, "before the header")),
    _file("one column", "order_id\na\n", Refused(_NAME, "'customer_id'")),
    _file("blanks after separators", _rows(_ROW.replace(",", ", ")), Right(["1"]), column="qty"),
    # decimal commas
    _file("decimal comma, declared", _GERMAN, Right(["12.5000"]), column="amount", separator=";", decimal_separator=","),
    _file("decimal comma", _GERMAN, Quarantined("type:amount"), column="amount", separator=";"),
    _file("decimal comma with thousands", _GERMAN.replace("12,50", "1.234,50"), Quarantined("type:amount"), column="amount", separator=";", decimal_separator=","),
    _file("decimal point, comma declared", _GERMAN.replace("12,50", "12.50"), Quarantined("type:amount"), column="amount", separator=";", decimal_separator=","),
    # encodings
    _file("cp1252", _TEXT.encode("cp1252"), Refused(_NAME, "encoding", "line 3")),
    _file("cp1252, declared", _TEXT.encode("cp1252"), Right(["text", "M\u00fcller"]), column="note", encoding="cp1252"),
    _file("Shift JIS, declared", _rows(_row(note="\u6771\u4eac")).encode("shift_jis"), Right(["\u6771\u4eac"]), column="note", encoding="shift_jis"),
    _file("UTF-16", _TEXT.encode("utf-16"), Refused(_NAME, "UTF-16")),
    _file("UTF-16, declared", _TEXT.encode("utf-16"), Right(["text", "M\u00fcller"]), column="note", encoding="utf-16"),
    _file("UTF-8 with byte-order mark", _TEXT.encode("utf-8-sig"), _ORDERS),
    _file("UTF-8, ASCII declared", _TEXT, Refused(_NAME, "encoding", "line 3"), encoding="ascii"),
    _file("JSON lines in cp1252, declared", '{"order_id": "a", "customer_id": "1", "note": "M\u00fcller", "ordered_at": "2026-03-01"}\n'.encode("cp1252"), Right(["M\u00fcller"]), "jsonl", "note", encoding="cp1252"),
    # line ends
    _file("line ends of Windows", _TEXT.replace("\n", "\r\n"), _ORDERS),
    _file("line ends of old Macs", _TEXT.replace("\n", "\r"), _ORDERS),
    _file("mixed line ends", f"{_HEADER}\r\n{_ROW}\n{_LAST}\r\n", _ORDERS),
    _file("no line end", _TEXT.rstrip("\n"), _ORDERS),
    _file("blank lines", f"{_HEADER}\n\n{_ROW}\n\n\n{_LAST}\n\n", _ORDERS),
    _file("blank line before the header", f"\n{_TEXT}", _ORDERS),
    # compressions
    *(_file(f"{name} by its extension", pack(_TEXT.encode()), _ORDERS, f"csv.{name}") for name, pack in _COMPRESSIONS.items()),
    _file("gzip, declared", gzip.compress(_TEXT.encode()), _ORDERS, "csv", compression="gzip"),
    _file("gzip without its extension", gzip.compress(_TEXT.encode()), Refused(_NAME, "compression", "gzip")),
    _file("extension of gzip without gzip", _TEXT, Refused(f"{_NAME}.gz", "gzip"), "csv.gz"),
    _file("gzip that is cut off", gzip.compress(_TEXT.encode())[:-20], Refused(f"{_NAME}.gz"), "csv.gz"),
    _file("zip of two files", _zip(orders=_TEXT, more=_TEXT), Refused(f"{_NAME}.zip", "2 files"), "csv.zip"),
    _file("JSON lines in gzip", gzip.compress(b'{"order_id": "a", "customer_id": "1", "ordered_at": "2026-03-01"}\n'), Right(["a"]), "jsonl.gz"),
    # other formats
    _file("Parquet called CSV", parquet_bytes(parquet_order()), Refused(_NAME, "Parquet")),
    _file("CSV called Parquet", _TEXT, Refused(f"{DAY}.parquet", "Parquet"), "parquet"),
    _file("web page", "<!DOCTYPE html>\n<html><body>503 Service Unavailable</body></html>\n", Refused(_NAME, "web page")),
    _file("JSON called CSV", '{"order_id": "a"}\n', Refused(_NAME, "JSON")),
    _file("Excel called CSV", _excel(), Refused(_NAME, "Excel")),
    _file("CSV called JSON lines", _TEXT, Refused(f"{DAY}.jsonl", "line 1"), "jsonl"),
    _file("JSON array called JSON lines", '[\n{"order_id": "a"}\n]\n', Refused(f"{DAY}.jsonl", "line 1"), "jsonl"),
    # rows of another length
    _file("short row", _rows(_ROW, _SHORT), Refused(_NAME, "line 3 has 3 values instead of 9")),
    _file("short row in quarantine", _rows(_ROW, _SHORT), Quarantined("unreadable", ["a"]), unreadable_rows="quarantine"),
    _file("long row", _rows(_ROW, _LONG), Refused(_NAME, "line 3 has 11 values instead of 9")),
    _file("long row in quarantine", _rows(_ROW, _LONG), Quarantined("unreadable", ["a"]), unreadable_rows="quarantine"),
    _file("long row after a line break in a value", _rows(_row(note='"one\ntwo"'), _LONG), Refused(_NAME, "line 4 has 11 values instead of 9")),
    _file("thousands comma without quotes", _rows(_row(amount="1,000.50")), Refused(_NAME, "line 2 has 10 values instead of 9")),
    _file("total at the end", f"{_TEXT}Total,25.00\n", Refused(_NAME, "line 4 has 2 values instead of 9")),
    _file("last row cut off", _TEXT[:-25], Refused(_NAME, "line 3")),
    # quotes
    _file("quote that is not closed", _rows(_row(note='"text'), _LAST), Refused(_NAME, "line 2", "quote")),
    _file("quote that is not closed in the last row", _rows(_ROW, _row(order_id="b", note='"text')), Refused(_NAME, "line 3", "quote")),
    _file("text after a closing quote", _rows(_row(note='"text" more')), Refused(_NAME, "line 2", "quote")),
    _file("quote within a text", _rows(_row(note='5" pipe')), Right(['5" pipe']), column="note"),
    _file("quotes that are doubled", _rows(_row(note='"say ""hi"", twice"')), Right(['say "hi", twice']), column="note"),
    _file("quotes after a backslash", _rows(_row(note=r'"say \"hi\""')), Refused(_NAME, "line 2", "quote")),
    _file("backslash before a closing quote", _rows(_row(note='"C:\\"')), Right(["C:\\"]), column="note"),
    _file("single quotes, declared", _rows(_row(note="'a, b'")), Right(["a, b"]), column="note", quote="'"),
    _file("single quotes", _rows(_row(note="'a, b'")), Refused(_NAME, "line 2 has 10 values instead of 9")),
    # no rows
    _file("header only", f"{_HEADER}\n", Right([])),
    _file("header only, rows required", f"{_HEADER}\n", Refused(_NAME, "no rows"), source={"allow_no_rows": False}),
    _file("empty", "", Refused(_NAME, "empty")),
    _file("empty gzip", gzip.compress(b""), Refused(f"{_NAME}.gz", "empty"), "csv.gz"),
    _file("only line ends", "\n\n", Refused(_NAME, "empty")),
    _file("empty JSON lines", "", Right([]), "jsonl"),
]  # fmt: skip
