"""Batches in JSON: one list for each feature."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, FailFast, Field, create_model

from include.serving.endpoint.batch_scorer import Batch
from include.serving.endpoint.requests import (
    CustomerId,
    ProblemReader,
    Strict,
    feature_type,
    invalid_input,
    refuse_duplicate_keys,
)
from include.training.model.contract import ModelContract


class BatchRequest(Strict):
    """The body of ``POST /predict_batch`` in JSON; ``batch_model`` adds ``features``, a list for each of one model."""

    customer_ids: list[CustomerId] = Field(description="One for each row; passed through to the answer.")

    def columns(self) -> list[list[float | str | None]]:
        """Return the features' values in the contract's order."""
        features: BaseModel = self.features  # type: ignore[attr-defined]  # see batch_model
        return list(features.__dict__.values())


def batch_model(contract: ModelContract, refuse_out_of_range: bool, max_rows: int) -> type[BatchRequest]:
    """Return the model of batches for ``contract``.

    A list is given up at its first value that is wrong, so that a long one that is wholly wrong is not described value
    by value.
    """
    columns: dict[str, Any] = {
        f"feature_{position}": (
            Annotated[list[feature_type(feature, refuse_out_of_range)], FailFast()],  # type: ignore[misc]
            Field(alias=feature.name, description=feature.description),
        )
        for position, feature in enumerate(contract.features)
    }
    features = create_model("FeatureColumns", __base__=Strict, **columns)
    customers = Annotated[list[CustomerId], FailFast(), Field(min_length=1, max_length=max_rows)]
    return create_model(
        "BatchRequest",
        __base__=BatchRequest,
        customer_ids=(customers, Field(description=BatchRequest.model_fields["customer_ids"].description)),
        features=(features, Field(description="One list for each feature of the model, as long as customer_ids.")),
    )


class JsonBatchReader:
    """Reads batches in JSON.

    Args:
        contract: What the model expects.
        refuse_out_of_range: Whether a number beyond the contract's range is refused.
        max_rows: The longest batch.
    """

    def __init__(self, contract: ModelContract, refuse_out_of_range: bool, max_rows: int) -> None:
        self.model = batch_model(contract, refuse_out_of_range, max_rows)
        self._contract = contract
        self._problems = ProblemReader(contract)

    def read(self, body: bytes) -> Batch:
        """Return the batch in ``body``.

        Raises:
            RefusalError: 400, it is not JSON; 422, it breaks the contract.
        """
        request = self._problems.validated(self.model, body)
        columns = request.columns()
        self._require_lengths(columns, len(request.customer_ids))
        categories = (columns[position] for position in self._contract.category_codes)
        texts = sum(value is not None for column in categories for value in column)
        refuse_duplicate_keys(body, 2 + len(columns) + len(request.customer_ids) + texts)
        return Batch(request.customer_ids, self._matrix(columns))

    def _require_lengths(self, columns: list[list[float | str | None]], rows: int) -> None:
        problems = [
            {"field": f"features.{name}", "reason": f"The list has {len(column)} values for {rows} customers."}
            for name, column in zip(self._contract.feature_names, columns, strict=True)
            if len(column) != rows
        ]
        if problems:
            raise invalid_input(problems)

    def _matrix(self, columns: list[list[float | str | None]]) -> NDArray[np.float32]:
        matrix = np.empty((len(columns[0]), len(columns)), dtype=np.float32)
        for position, column in enumerate(columns):
            codes = self._contract.category_codes.get(position)
            numbers = column if codes is None else [codes.get(value, np.nan) for value in column]  # type: ignore[arg-type]
            matrix[:, position] = np.array(numbers, dtype=np.float32)
        return matrix
