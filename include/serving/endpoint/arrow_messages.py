"""A look at the messages of an Arrow IPC stream before anything in them is decoded.

Arrow's Python library decompresses buffers while it reads them, and does not tell beforehand that they are compressed.
The flag is in the header of a message, a FlatBuffers table (Arrow's Message.fbs).
"""

from __future__ import annotations

import struct

import pyarrow as pa

_HEADER_TYPE, _HEADER = 1, 2  # fields of the table Message
_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3  # kinds of headers
_DICTIONARY_DATA = 1  # the record batch inside the table DictionaryBatch
_COMPRESSION = 3  # a field of the table RecordBatch


def has_compression(body: bytes) -> bool:
    """Return whether any buffer of an Arrow IPC stream is compressed.

    Raises:
        pyarrow.ArrowInvalid: It is no Arrow IPC stream.
    """
    messages = pa.ipc.MessageReader.open_stream(body)
    return any(_is_compressed(message.metadata.to_pybytes()) for message in messages)


def _is_compressed(metadata: bytes) -> bool:
    try:
        message = struct.unpack_from("<I", metadata)[0]
        kind = _field(metadata, message, _HEADER_TYPE)
        batch = _reference(metadata, _field(metadata, message, _HEADER))
        if kind and metadata[kind] == _DICTIONARY_BATCH:
            batch = _reference(metadata, _field(metadata, batch, _DICTIONARY_DATA))
        elif not kind or metadata[kind] != _RECORD_BATCH:
            return False
        return _field(metadata, batch, _COMPRESSION) != 0
    except (struct.error, IndexError) as error:
        raise pa.ArrowInvalid("a message without a readable header") from error


def _field(buffer: bytes, table: int, number: int) -> int:
    """Return the position of a table's field; 0 when it is absent."""
    layout = table - struct.unpack_from("<i", buffer, table)[0]
    size: int = struct.unpack_from("<H", buffer, layout)[0]
    entry = 4 + 2 * number
    offset: int = struct.unpack_from("<H", buffer, layout + entry)[0] if entry < size else 0
    return table + offset if offset else 0


def _reference(buffer: bytes, position: int) -> int:
    offset: int = struct.unpack_from("<I", buffer, position)[0]
    return position + offset
