"""Parts read back: checked, and unfolded into the columns of the lake.

A part may end in the middle of a batch, when its writer was killed; it counts up to its last whole batch. Anything else
that is wrong is a reason to put it aside.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, ValidationError

from include.errors import ChurnflowError
from include.serving.prediction_log.answers import FORMAT, MATRIX, METADATA_KEY
from include.serving.prediction_log.parts import PartStore

ROW_SCHEMA = pa.schema(
    [
        ("dt", pa.date32()),
        ("answered_at", pa.timestamp("us", "UTC")),
        ("customer_id", pa.string()),
        ("model_version", pa.string()),
        ("churn_probability", pa.float32()),
        ("prediction", pa.string()),
        ("features_day", pa.date32()),
        ("shadow_version", pa.string()),
        ("shadow_probability", pa.float32()),
        ("shadow_prediction", pa.string()),
        ("part", pa.string()),
    ]
)
_PART_COLUMNS = {
    "answered_at": pa.timestamp("us", "UTC"),
    "customer_id": pa.string(),
    "churn_probability": pa.float32(),
    "churn": pa.bool_(),
    "features_day": pa.date32(),
    "shadow_probability": pa.float32(),
    "shadow_churn": pa.bool_(),
}
_LONGEST_HEADER = 4 * 2**20


class PartError(ChurnflowError):
    """A file is not a part of the prediction log, or is damaged."""


class OtherProjectError(ChurnflowError):
    """A part belongs to the log of another project."""


class _Feature(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    categories: tuple[str, ...] | None


class _Described(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
    format: Literal[1]
    project: str
    model_version: str
    shadow_version: str | None
    features: tuple[_Feature, ...]


@dataclass
class Part:
    """One delivered part.

    Attributes:
        day: The UTC day of its rows.
        name: Its file's name.
        rows: Rows read so far.
        cut_off: Whether it ended within a batch.
        problem: Why reading stopped before its end; None when it did not.
    """

    day: dt.date
    name: str
    rows: int
    cut_off: bool
    problem: str | None
    _store: PartStore
    _schema: pa.Schema
    _described: _Described

    @classmethod
    def open(cls, store: PartStore, day: dt.date, name: str, project: str) -> Self:
        """Read what a part says about itself.

        Args:
            store: Where it lies.
            day: The day that it lies under.
            name: Its name.
            project: Whose answers are expected.

        Raises:
            PartError: It is no part of a log.
            OtherProjectError: It is a part of another project's log.
            OSError: The store does not answer, or has it no more.
        """
        with store.open(day, name) as source:
            beginning = source.read(_LONGEST_HEADER)
        try:
            schema = pa.ipc.open_stream(beginning).schema
            described = _Described.model_validate_json((schema.metadata or {}).get(METADATA_KEY, b""))
        except (pa.ArrowException, OSError, ValidationError) as error:
            raise _refused(name, f"It is not a part of format {FORMAT}.") from error
        if described.project != project:
            raise OtherProjectError(
                f"It belongs to project {described.project}.",
                where=_where(name),
                remedy="Collect it with the settings of that project.",
            )
        found = {field.name: field.type for field in schema}
        matrix = found.pop(MATRIX, None)
        if found != _PART_COLUMNS or matrix not in (None, pa.list_(pa.float32(), len(described.features))):
            raise _refused(name, "Its columns are not those of a part.")
        return cls(day, name, 0, False, None, store, schema, described)

    @property
    def feature_fields(self) -> list[pa.Field]:
        """The columns of its features in the lake, none where features are not logged.

        A number and a category have different names, so that a feature may become the other with a later model.
        """
        if MATRIX not in self._schema.names:
            return []
        return [pa.field(_column(feature), _type(feature)) for feature in self._described.features]

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield its rows, ``ROW_SCHEMA`` and the feature columns, up to the first batch that cannot be read.

        Raises:
            OSError: The store does not answer.
        """
        # Read as a whole, so that an error from here on is the part's own and not the store's.
        with self._store.open(self.day, self.name) as source:
            content = pa.BufferReader(source.read_buffer())
        reader = pa.ipc.open_stream(content)
        while True:
            try:
                batch = reader.read_next_batch()
                batch.validate(full=True)
                rows = self._unfold(batch)
            except StopIteration:
                return
            except PartError as error:
                self.problem = error.what
                return
            except (pa.ArrowException, OSError):
                # What ends in the middle of a batch has nothing behind it.
                self.cut_off = not content.read(1)
                self.problem = None if self.cut_off else "A batch is damaged."
                return
            self.rows += rows.num_rows
            yield rows

    def _unfold(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        days = pc.cast(pc.cast(batch["answered_at"], pa.timestamp("us")), pa.date32(), safe=False)
        if pc.unique(days).to_pylist() != [self.day]:
            raise _refused(self.name, f"It holds rows of other days than {self.day}.")
        rows, has_shadow = batch.num_rows, batch["shadow_probability"].is_valid()
        columns = {
            "dt": days,
            "answered_at": batch["answered_at"],
            "customer_id": batch["customer_id"],
            "model_version": pa.repeat(self._described.model_version, rows),
            "churn_probability": batch["churn_probability"],
            "prediction": _words(batch["churn"]),
            "features_day": batch["features_day"],
            "shadow_version": pc.if_else(has_shadow, self._described.shadow_version, None).cast(pa.string()),
            "shadow_probability": batch["shadow_probability"],
            "shadow_prediction": _words(batch["shadow_churn"]),
            "part": pa.repeat(self.name, rows),
        }
        return pa.RecordBatch.from_pydict(columns | self._features(batch))

    def _features(self, batch: pa.RecordBatch) -> dict[str, pa.Array]:
        if MATRIX not in batch.schema.names:
            return {}
        matrix = batch[MATRIX].flatten().to_numpy(zero_copy_only=False).reshape(batch.num_rows, -1)
        return {_column(f): _decoded(f, matrix[:, position]) for position, f in enumerate(self._described.features)}


def _column(feature: _Feature) -> str:
    return f"{'number' if feature.categories is None else 'category'}_{feature.name}"


def _type(feature: _Feature) -> pa.DataType:
    return pa.float32() if feature.categories is None else pa.string()


def _decoded(feature: _Feature, values: np.ndarray) -> pa.Array:
    missing = np.isnan(values)
    if feature.categories is None:
        return pa.array(values, mask=missing)
    codes = pa.array(np.where(missing, 0, values).astype(np.int32), mask=missing)
    return pa.array(feature.categories, pa.string()).take(codes)


def _words(churn: pa.Array) -> pa.Array:
    return pc.if_else(churn, "churn", "retain")


def _refused(name: str, what: str) -> PartError:
    return PartError(what, where=_where(name), remedy="Look at where the file came from.")


def _where(name: str) -> str:
    return f"prediction log, {name}"
