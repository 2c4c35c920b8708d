"""Batches as an Arrow IPC stream: ``customer_id``, and one column for each feature."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter, ValidationError

from include.serving.endpoint.arrow_messages import has_compression
from include.serving.endpoint.batch_scorer import Batch
from include.serving.endpoint.requests import (
    CustomerId,
    ProblemReader,
    RefusalError,
    feature_type,
    invalid_input,
    limits,
)
from include.training.model.contract import FeatureContract, ModelContract

ARROW = "application/vnd.apache.arrow.stream"
_CUSTOMER = "customer_id"
_STRICT = ConfigDict(strict=True, allow_inf_nan=False)


class ArrowBatchReader:
    """Reads batches in Arrow: numbers of any width, decimals, and texts, plain or dictionary-encoded.

    Of each column that is wrong, the first row that is wrong is named.

    Args:
        contract: What the model expects.
        refuse_out_of_range: Whether a number beyond the contract's range is refused.
        max_rows: The longest batch.
    """

    def __init__(self, contract: ModelContract, refuse_out_of_range: bool, max_rows: int) -> None:
        self._columns = [_Column(feature, refuse_out_of_range) for feature in contract.features]
        self._names = contract.feature_names
        self._max_rows = max_rows
        self._problems = ProblemReader(contract)
        self._customer: TypeAdapter[Any] = TypeAdapter(CustomerId, config=_STRICT)

    def read(self, body: bytes) -> Batch:
        """Return the batch in ``body``.

        Raises:
            RefusalError: 400, it is not an Arrow stream; 415, it is compressed; 422, it breaks the contract.
        """
        try:
            if has_compression(body):
                # A few bytes of it may become more than there is memory.
                raise RefusalError(415, "unsupported_media_type", "Send the Arrow stream without compression.")
            with pa.ipc.open_stream(body) as stream:
                self._require_columns(stream.schema)
                table = pa.Table.from_batches(self._bounded(stream), stream.schema)
        except (pa.ArrowException, OSError, MemoryError, UnicodeDecodeError):
            raise RefusalError(400, "malformed_arrow", "The body is not an Arrow IPC stream.") from None
        return self._batch(table)

    def _require_columns(self, schema: pa.Schema) -> None:
        known, present = [_CUSTOMER, *self._names], schema.names
        problems = [
            *({"field": _field(name), "reason": "Field required"} for name in known if name not in present),
            *({"field": name, "reason": "Extra inputs are not permitted"} for name in present if name not in known),
            *({"field": name, "reason": "The column comes twice."} for name in known if present.count(name) > 1),
        ]
        if problems:
            raise invalid_input(problems)
        types = [(_CUSTOMER, _is_text(schema.field(_CUSTOMER).type), "string")]
        types += [(c.feature.name, c.reads(schema.field(c.feature.name).type), c.expects) for c in self._columns]
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
                raise invalid_input([{"field": _CUSTOMER, "reason": f"There may be {self._max_rows} rows at most."}])
            batch.validate(full=True)
            yield batch

    def _batch(self, table: pa.Table) -> Batch:
        if not table.num_rows:
            raise invalid_input([{"field": _CUSTOMER, "reason": "There is no row."}])
        customers = _texts(table[_CUSTOMER])
        matrix = np.empty((table.num_rows, len(self._columns)), dtype=np.float32)
        problems = self._named(_CUSTOMER, self._customer, customers, _no_customer(customers))
        for position, column in enumerate(self._columns):
            plain = column.plain(table[column.feature.name])
            values, wrong = column.encode(plain)
            matrix[:, position] = values
            problems += self._named(_field(column.feature.name), column.type, plain, wrong)
        if problems:
            raise invalid_input(problems)
        return Batch(customers.to_pylist(), matrix)

    def _named(
        self, field: str, accepted: TypeAdapter[Any], column: pa.ChunkedArray, wrong: NDArray[np.bool_]
    ) -> list[dict[str, str]]:
        """Return what pydantic says about the first row that it refuses, of those that seem wrong."""
        for row in np.flatnonzero(wrong):
            try:
                accepted.validate_python(column[row].as_py())
            except ValidationError as error:
                problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
                self._problems.count_out_of_range(tuple(field.split(".", 1)), problem["type"])
                return [{"field": f"{field}.{row}", "reason": problem["msg"]}]
        return []


class _Column:
    """Reads one feature's column.

    Args:
        feature: The feature.
        refuse_out_of_range: Whether a number beyond its range is refused.
    """

    def __init__(self, feature: FeatureContract, refuse_out_of_range: bool) -> None:
        self.feature = feature
        self.expects = "string" if feature.categories else "number"
        self.type: TypeAdapter[Any] = TypeAdapter(feature_type(feature, refuse_out_of_range), config=_STRICT)
        self._least, self._most = limits(feature, refuse_out_of_range)
        self._categories = pa.array(feature.categories or (), pa.string())

    def reads(self, kind: pa.DataType) -> bool:
        """Return whether columns of ``kind`` can be read."""
        return pa.types.is_null(kind) or (_is_text(kind) if self.feature.categories else _is_number(kind))

    def plain(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return the column as texts or as 64-bit floats: as pydantic reads its values, one by one."""
        if self.feature.categories:
            return _texts(column)
        if pa.types.is_decimal(column.type):
            # Arrow's own way is not the nearest float: 0.3 becomes 0.30000000000000004, which is beyond 0.3.
            column = column.cast(pa.string())
        return column.cast(pa.float64(), safe=False)

    def encode(self, column: pa.ChunkedArray) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return what the model reads of a plain column, and which rows are wrong; both of shape (n,)."""
        absent = np.asarray(column.is_null())
        if self.feature.categories:
            codes = pc.index_in(column, value_set=self._categories)
            values = np.asarray(codes.cast(pa.float64()), dtype=np.float64)
            wrong = np.isnan(values) & ~absent
        else:
            values = np.asarray(column, dtype=np.float64)
            with np.errstate(invalid="ignore"):
                wrong = ~((values >= self._least) & (values <= self._most)) & ~absent
        if not self.feature.nullable:
            wrong |= absent
        with np.errstate(over="ignore"):
            return values.astype(np.float32), wrong


def arrow_answer(batch: Batch, probabilities: NDArray[np.float32], churns: NDArray[np.bool_], version: str) -> bytes:
    """Return the answer as an Arrow IPC stream."""
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
    answer: bytes = sink.getvalue().to_pybytes()
    return answer


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_number(kind: pa.DataType) -> bool:
    if pa.types.is_decimal(kind):
        # A stream may name any scale, and Arrow looks its power of ten up without asking whether there is one.
        return bool(abs(kind.scale) <= kind.precision)
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string())


def _no_customer(customers: pa.ChunkedArray) -> NDArray[np.bool_]:
    lengths = np.asarray(pc.fill_null(pc.utf8_length(customers), 0))
    return (lengths < 1) | (lengths > 128)


def _field(name: str) -> str:
    return name if name == _CUSTOMER else f"features.{name}"
