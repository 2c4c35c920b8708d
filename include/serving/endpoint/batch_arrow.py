"""Batches in Arrow: an IPC stream of ``customer_id`` and one column for each feature."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter, ValidationError

from include.plurals import counted
from include.serving.endpoint.errors import RequestError, invalid_input
from include.serving.endpoint.requests import CustomerId, JsonValidator, accepted_range, feature_type
from include.serving.endpoint.scorer import Batch
from include.training.model.contract import FeatureContract, ModelContract

ARROW = "application/vnd.apache.arrow.stream"
_CUSTOMER = "customer_id"
_STRICT = ConfigDict(strict=True, allow_inf_nan=False)


class ArrowBatchReader:
    """Reads batches in Arrow: numbers of any width, decimals, and texts, plain or dictionary-encoded.

    The error response names the first invalid row of each column.

    Args:
        contract: The model's contract.
        refuse_out_of_range: Whether a number outside the contract's range is an error.
        max_rows: The largest number of rows.
    """

    def __init__(self, contract: ModelContract, refuse_out_of_range: bool, max_rows: int) -> None:
        self._columns = [_Column(feature, refuse_out_of_range) for feature in contract.features]
        self._names = contract.feature_names
        self._max_rows = max_rows
        self._validator = JsonValidator(contract)
        self._customer: TypeAdapter[Any] = TypeAdapter(CustomerId, config=_STRICT)

    def read(self, body: bytes) -> Batch:
        """Return the batch in ``body``.

        Raises:
            RequestError: 400 when the body is not an Arrow stream; 415 when it is compressed; 422 when it breaks the
                contract.
        """
        try:
            _check_messages(body)
            with pa.ipc.open_stream(body) as stream:
                self._require_columns(stream.schema)
                table = pa.Table.from_batches(self._bounded(stream), stream.schema)
        except (pa.ArrowException, OSError, MemoryError, UnicodeDecodeError):
            raise _malformed("The body is not an Arrow IPC stream.") from None
        return self._batch(table)

    def _require_columns(self, schema: pa.Schema) -> None:
        known, present = [_CUSTOMER, *self._names], schema.names
        problems = [
            *({"field": _field(name), "reason": "Field required"} for name in known if name not in present),
            *({"field": name, "reason": "Extra inputs are not permitted"} for name in present if name not in known),
            *({"field": name, "reason": "The column is repeated."} for name in known if present.count(name) > 1),
        ]
        if problems:
            raise invalid_input(problems)
        types = [(_CUSTOMER, _is_text(schema.field(_CUSTOMER).type), "string")]
        types += [(c.feature.name, c.accepts(schema.field(c.feature.name).type), c.expects) for c in self._columns]
        wrong = [
            {"field": _field(name), "reason": f"Input should be a valid {what}"}
            for name, fits, what in types
            if not fits
        ]
        if wrong:
            raise invalid_input(wrong)

    def _bounded(self, stream: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        rows = 0
        for batch in stream:
            rows += batch.num_rows
            if rows > self._max_rows:
                raise invalid_input(
                    [{"field": _CUSTOMER, "reason": f"The batch has more than {counted(self._max_rows, 'row')}."}]
                )
            batch.validate(full=True)
            yield batch

    def _batch(self, table: pa.Table) -> Batch:
        if not table.num_rows:
            raise invalid_input([{"field": _CUSTOMER, "reason": "The batch has no row."}])
        customers = _texts(table[_CUSTOMER])
        matrix = np.empty((table.num_rows, len(self._columns)), dtype=np.float32)
        problems = self._first_problem(_CUSTOMER, self._customer, customers, _wrong_lengths(customers))
        for position, column in enumerate(self._columns):
            plain = column.plain(table[column.feature.name])
            values, wrong = column.encode(plain)
            matrix[:, position] = values
            problems += self._first_problem(_field(column.feature.name), column.type, plain, wrong)
        if problems:
            raise invalid_input(problems)
        return Batch(customers.to_pylist(), matrix)

    def _first_problem(
        self, field: str, accepted: TypeAdapter[Any], column: pa.ChunkedArray, wrong: NDArray[np.bool_]
    ) -> list[dict[str, str]]:
        """Return pydantic's error of the first invalid row; ``wrong`` marks the candidates."""
        for row in np.flatnonzero(wrong):
            try:
                accepted.validate_python(column[row].as_py())
            except ValidationError as error:
                problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
                self._validator.count_out_of_range(tuple(field.split(".", 1)), problem["type"])
                return [{"field": f"{field}.{row}", "reason": problem["msg"]}]
        return []


class _Column:
    """Reads one feature's column.

    Args:
        feature: The feature's contract.
        refuse_out_of_range: Whether a number outside the contract's range is an error.
    """

    def __init__(self, feature: FeatureContract, refuse_out_of_range: bool) -> None:
        self.feature = feature
        self.expects = "string" if feature.categories else "number"
        self.type: TypeAdapter[Any] = TypeAdapter(feature_type(feature, refuse_out_of_range), config=_STRICT)
        self._smallest, self._largest = accepted_range(feature, refuse_out_of_range)
        self._categories = pa.array(feature.categories or (), pa.string())

    def accepts(self, kind: pa.DataType) -> bool:
        """Return whether the feature accepts columns of type ``kind``."""
        return pa.types.is_null(kind) or (_is_text(kind) if self.feature.categories else _is_number(kind))

    def plain(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return the column as texts or as 64-bit floats, the types in which pydantic validates single values."""
        if self.feature.categories:
            return _texts(column)
        if pa.types.is_decimal(column.type):
            # Arrow's cast from decimal does not give the nearest float: 0.3 becomes 0.30000000000000004.
            column = column.cast(pa.string())
        return column.cast(pa.float64(), safe=False)

    def encode(self, column: pa.ChunkedArray) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return a plain column as the model's input, and whether each row may be invalid; both of shape (n,)."""
        absent = np.asarray(column.is_null())
        if self.feature.categories:
            codes = pc.index_in(column, value_set=self._categories)
            values = np.asarray(codes.cast(pa.float64()), dtype=np.float64)
            wrong = np.isnan(values) & ~absent
        else:
            values = np.asarray(column, dtype=np.float64)
            with np.errstate(invalid="ignore"):
                wrong = ~((values >= self._smallest) & (values <= self._largest)) & ~absent
        if not self.feature.nullable:
            wrong |= absent
        with np.errstate(over="ignore"):
            return values.astype(np.float32), wrong


def arrow_response_body(
    batch: Batch, probabilities: NDArray[np.float32], churns: NDArray[np.bool_], version: str
) -> bytes:
    """Return the predictions as an Arrow IPC stream.

    Args:
        batch: The n customers.
        probabilities: Their churn probabilities, shape (n,).
        churns: Whether the prediction is ``churn``, shape (n,).
        version: The model version.
    """
    table = pa.table(
        {
            "customer_id": pa.array(batch.customer_ids, pa.string()),
            "churn_probability": pa.array(probabilities.astype(np.float64)),
            "prediction": pa.DictionaryArray.from_arrays(churns.astype(np.int8), ["retain", "churn"]),
            "model_version": pa.repeat(version, len(probabilities)),
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    body: bytes = sink.getvalue().to_pybytes()
    return body


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_number(kind: pa.DataType) -> bool:
    if pa.types.is_decimal(kind):
        # A stream may contain any scale, and Arrow reads its table of powers of ten without a bounds check.
        return bool(abs(kind.scale) <= kind.precision)
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string())


def _wrong_lengths(customers: pa.ChunkedArray) -> NDArray[np.bool_]:
    lengths = np.asarray(pc.fill_null(pc.utf8_length(customers), 0))
    return (lengths < 1) | (lengths > 128)


def _field(name: str) -> str:
    return name if name == _CUSTOMER else f"features.{name}"


# Arrow's Python library decompresses buffers while it reads them, and has no option to reject compressed buffers. The
# compression flag is in the header of a message, a FlatBuffers table (Arrow's Message.fbs).
_HEADER_TYPE, _HEADER = 1, 2  # fields of the table Message
_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3  # header types
_DICTIONARY_DATA = 1  # the record batch inside the table DictionaryBatch
_COMPRESSION = 3  # a field of the table RecordBatch


def _check_messages(body: bytes) -> None:
    """Check that no buffer of an Arrow IPC stream is compressed, and that nothing follows the stream.

    Raises:
        pyarrow.ArrowInvalid: The body is not an Arrow IPC stream.
        RequestError: 415 when a buffer is compressed; 400 when bytes follow the stream.
    """
    source = pa.BufferReader(body)
    for message in pa.ipc.MessageReader.open_stream(source):
        if _is_compressed(message.metadata.to_pybytes()):
            # A few compressed bytes can expand to more bytes than the memory has.
            raise RequestError(415, "unsupported_media_type", "Send the Arrow stream without compression.")
    if source.tell() != len(body):
        raise _malformed("The body has bytes after the end of the Arrow IPC stream.")


def _malformed(message: str) -> RequestError:
    return RequestError(400, "malformed_arrow", message)


def _is_compressed(metadata: bytes) -> bool:
    try:
        message = struct.unpack_from("<I", metadata)[0]
        kind = _flatbuffer_field(metadata, message, _HEADER_TYPE)
        batch = _flatbuffer_reference(metadata, _flatbuffer_field(metadata, message, _HEADER))
        if kind and metadata[kind] == _DICTIONARY_BATCH:
            batch = _flatbuffer_reference(metadata, _flatbuffer_field(metadata, batch, _DICTIONARY_DATA))
        elif not kind or metadata[kind] != _RECORD_BATCH:
            return False
        return _flatbuffer_field(metadata, batch, _COMPRESSION) != 0
    except (struct.error, IndexError) as error:
        raise pa.ArrowInvalid("a message without a readable header") from error


def _flatbuffer_field(buffer: bytes, table: int, number: int) -> int:
    """Return the position of a table's field; 0 when it is absent."""
    layout = table - struct.unpack_from("<i", buffer, table)[0]
    size: int = struct.unpack_from("<H", buffer, layout)[0]
    entry = 4 + 2 * number
    offset: int = struct.unpack_from("<H", buffer, layout + entry)[0] if entry < size else 0
    return table + offset if offset else 0


def _flatbuffer_reference(buffer: bytes, position: int) -> int:
    offset: int = struct.unpack_from("<I", buffer, position)[0]
    return position + offset
