"""Search every byte below a folder for a text, including the content of compressed files and of tables."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import sqlite3
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

_DECOMPRESSED = {b"\x1f\x8b": gzip.decompress, b"BZh": bz2.decompress, b"\xfd7zXZ\x00": lzma.decompress}


@dataclass
class Traces:
    """The result of a search.

    Attributes:
        places: The files with the text; a part of a file is after ``!``.
        bytes_scanned: The number of bytes, with those of the decompressed content.
    """

    places: list[str] = field(default_factory=list)
    bytes_scanned: int = 0


def find_traces(folder: Path, text: str) -> Traces:
    """Search the files below a folder, and their names, for a text in UTF-8 or UTF-16, or escaped as in JSON.

    LMDB stores rows as they are, so the bytes of its file contain them, also those of deleted rows.

    Args:
        folder: The folder.
        text: The text.
    """
    traces = Traces()
    needles = [text.encode(), text.encode("utf-16-le"), text.encode("utf-16-be"), json.dumps(text)[1:-1].encode()]
    for path in sorted(folder.rglob("*")):
        if text in path.name:
            traces.places.append(f"{path}!name")
        if path.is_file() and not path.is_symlink():
            for place, content in _contents(str(path), path.read_bytes()):
                traces.bytes_scanned += len(content)
                if any(needle in content for needle in needles):
                    traces.places.append(place)
    return traces


def _contents(place: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the bytes of a file, and of everything in it."""
    yield place, content
    for signature, decompress in _DECOMPRESSED.items():
        if content.startswith(signature):
            yield from _contents(f"{place}!content", decompress(content))
    if content.startswith(b"\x28\xb5\x2f\xfd"):
        with pa.CompressedInputStream(pa.BufferReader(content), "zstd") as stream:
            yield from _contents(f"{place}!content", stream.read())
    if content.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                yield from _contents(f"{place}!{name}", archive.read(name))
    elif content.startswith(b"PAR1"):
        yield f"{place}!rows", _parquet(content)
    elif content.startswith(b"ARROW1"):
        yield f"{place}!rows", _plain(pa.ipc.open_file(content).read_all())
    elif content.startswith(b"SQLite format 3"):
        yield f"{place}!rows", _sqlite(content)
    elif content[257:262] == b"ustar":
        with tarfile.open(fileobj=io.BytesIO(content)) as members:
            for member in members:
                if (file := members.extractfile(member)) is not None:
                    yield from _contents(f"{place}!{member.name}", file.read())


def _parquet(content: bytes) -> bytes:
    """Return the rows of a Parquet file, and the dictionaries of its columns, which can contain values of no row."""
    schema = pq.read_schema(pa.BufferReader(content))
    texts = [item.name for item in schema if pa.types.is_string(item.type) or pa.types.is_dictionary(item.type)]
    # Columns with many different texts have no dictionary, and columns within others cannot be read with it.
    return _plain(pq.ParquetFile(pa.BufferReader(content)).read()) + _plain(
        pq.ParquetFile(pa.BufferReader(content), read_dictionary=texts).read()
    )


def _plain(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_table(rows)
    return bytes(sink.getvalue())


def _sqlite(content: bytes) -> bytes:
    database = sqlite3.connect(":memory:")
    # Bytes 18 and 19 state a write-ahead log, which does not exist in memory; its file is searched as it is.
    database.deserialize(content[:18] + b"\x01\x01" + content[20:])
    return "\n".join(database.iterdump()).encode(errors="surrogatepass")
