"""The content of a file: decompress it, decode it, and recognise content of another kind by its first bytes."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import IO, cast

import pyarrow as pa

HEAD_BYTES = 4_000
"""Number of bytes at the beginning of a file from which its kind is recognised."""

_CHUNK_BYTES = 1_000_000

OpenFile = Callable[[], AbstractContextManager[IO[bytes]]]
"""Opens a file at its beginning, decompressed."""

COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zip": "zip", ".zst": "zstd"}
"""The compression of each file extension."""

_SIGNATURES = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",
    b"PK\x03\x04": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PAR1": "Parquet",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"%PDF": "PDF",
}
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_REMOVED_MARKS = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}


class ContentError(ValueError):
    """The content of a file is not as declared.

    Args:
        what: The line, what was found and the likely cause, as the end of a sentence.
        remedy: The action that solves the problem; empty if only a new delivery does.
    """

    def __init__(self, what: str, remedy: str = "") -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(what)


def compression_of(name: str) -> str:
    """Return the compression that belongs to the extension of a file name, or ``none``."""
    return next((kind for suffix, kind in COMPRESSIONS.items() if name.lower().endswith(suffix)), "none")


def decompressed(stream: IO[bytes], compression: str) -> IO[bytes]:
    """Return the decompressed content of a file.

    Args:
        stream: The file.
        compression: A compression of ``Files``, except ``infer``.

    Raises:
        ContentError: A zip archive does not contain exactly one file.
        Exception: The content is not of this compression; the exception depends on the compression.
    """
    match compression:
        case "gzip":
            return cast(IO[bytes], gzip.GzipFile(fileobj=stream))
        case "bz2":
            return bz2.BZ2File(stream)
        case "xz":
            return lzma.LZMAFile(stream)
        case "zstd":
            return cast(IO[bytes], pa.CompressedInputStream(stream, "zstd"))
        case "zip":
            archive = zipfile.ZipFile(stream)
            members = [item for item in archive.infolist() if not item.is_dir() and "__MACOSX" not in item.filename]
            if len(members) != 1:
                raise ContentError(f"the zip archive contains {len(members)} files instead of one")
            try:
                return archive.open(members[0])
            except (RuntimeError, NotImplementedError) as error:  # encrypted, or compressed by an unknown method
                raise ContentError(f"the zip archive cannot be decompressed: {error}") from error
    return stream


def text_of(stream: IO[bytes], encoding: str) -> io.TextIOWrapper:
    """Return the text of a stream, without a byte-order mark and with its line breaks unchanged.

    Args:
        stream: The decompressed file.
        encoding: The encoding.
    """
    buffer = io.BufferedReader(_Raw(stream))
    # Excel writes a byte-order mark, which does not belong to the first value. Python removes it for utf-16 and utf-32.
    mark = _REMOVED_MARKS.get(codecs.lookup(encoding).name, b"")
    if buffer.peek(len(mark)).startswith(mark):
        buffer.read(len(mark))
    return io.TextIOWrapper(buffer, encoding, newline="")


class _Raw(io.RawIOBase):
    """A stream with the methods that ``TextIOWrapper`` requires, which not every file system provides."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def recognised(head: bytes) -> str | None:
    """Return the compression, format or encoding that the first bytes of a file indicate; None for plain text.

    Args:
        head: The first ``HEAD_BYTES`` bytes.

    Examples:
        >>> recognised(b"PAR1"), recognised(b"id,amount")
        ('Parquet', None)
    """
    for signature, kind in {**_SIGNATURES, **_BYTE_ORDER_MARKS}.items():
        if head.startswith(signature):
            return "an Excel workbook" if kind == "zip" and b"[Content_Types].xml" in head else kind
    start = head.lstrip()[:20].lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page or XML"
    # Of the two bytes of a Latin character in UTF-16, one is zero.
    for kind, zeros in {"utf-16-le": head[1::2], "utf-16-be": head[::2]}.items():
        if zeros.count(0) > len(head) // 4:
            return kind
    return None


def require_text(head: bytes, encoding: str) -> None:
    """Check that the first bytes of a text file are not those of another kind of file.

    Args:
        head: The first ``HEAD_BYTES`` bytes, decompressed.
        encoding: The declared encoding.

    Raises:
        ContentError: The content is of another kind.
    """
    kind = recognised(head)
    if kind is None or codecs.lookup(encoding).name.startswith(kind):
        return
    if kind in COMPRESSIONS.values():
        raise ContentError(
            f"its content is compressed with {kind}",
            f"Set compression: {kind} in sources.yaml, or ask for a file that is compressed only once.",
        )
    if kind.startswith("utf-"):
        raise ContentError(f"its content is in {kind}, not in {encoding}", f"Set encoding: {kind} in sources.yaml.")
    raise ContentError(f"its content is {kind}")


def undecodable(open_file: OpenFile, encoding: str) -> ContentError | None:
    """Return the error for the first byte that is invalid in the encoding; None if the whole file is valid.

    Args:
        open_file: Opens the file.
        encoding: The declared encoding.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    with open_file() as stream:
        while True:
            data = stream.read(_CHUNK_BYTES)
            try:
                line += decoder.decode(data, final=not data).count("\n")
            except UnicodeError as error:
                if not isinstance(error, UnicodeDecodeError):
                    return ContentError(f"it is not valid in {encoding}: {error}")
                line += error.object[: error.start].count(b"\n")
                found = error.object[error.start]
                return ContentError(
                    f"line {line} contains the byte 0x{found:02X}, which is not valid in {encoding}; the likely cause"
                    " is another encoding",
                    "Set the encoding in sources.yaml, such as encoding: cp1252 for files of Windows programs.",
                )
            if not data:
                return None
