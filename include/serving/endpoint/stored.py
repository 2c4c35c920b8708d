"""Features of customers whom a request names by id alone."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from include.logs import get_logger
from include.serving.endpoint.requests import LARGEST_FLOAT32, RefusalError, Row
from include.serving.online_store import CustomerFeatures, OnlineStore, StoreError
from include.training.model.contract import FeatureContract, ModelContract

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A customer's stored features.

    Attributes:
        row: Values in the contract's order.
        day: The day that they are of.
        stale: Whether that day is too long ago.
    """

    row: Row
    day: dt.date
    stale: bool


class StoredFeatures:
    """Reads the online store for one model.

    What is stored passed the checks of gold, and is read as the retention list reads it: an unknown category and an
    absent value are missing to the model, and a number beyond the contract's range is scored, and counted.

    Args:
        contract: The model's contract.
        store: The online store; None where none is configured.
        stale_after_days: The age in days beyond which features are stale.
    """

    def __init__(self, contract: ModelContract, store: OnlineStore | None, stale_after_days: int) -> None:
        self._contract = contract
        self._store = store
        self._stale_after = dt.timedelta(days=stale_after_days)
        self._answers = True

    async def read(self, customer_id: str) -> StoredRow:
        """Return the customer's features.

        Raises:
            RefusalError: 404, nobody is known under this id; 503, there is no store, it does not answer, or what it
                holds is not what the model reads.
        """
        found = await self._get(customer_id)
        if found is None:
            raise RefusalError(404, "unknown_customer", "The online store has no features of this customer.")
        today = dt.datetime.now(dt.UTC).date()
        return StoredRow(self._row(found), found.day, today - found.day > self._stale_after)

    async def close(self) -> None:
        """Let go of the store."""
        if self._store is not None:
            await self._store.close()

    async def _get(self, customer_id: str) -> CustomerFeatures | None:
        if self._store is None:
            raise RefusalError(503, "no_online_store", "No online store is configured: send the features.")
        try:
            found = await self._store.get(customer_id)
        except StoreError as error:
            if self._answers:
                log.error("online store does not answer", extra={"error": str(error)})
            self._answers = False
            message = "The online store does not answer: send the features, or ask again later."
            raise RefusalError(503, "online_store_unavailable", message) from None
        if not self._answers:
            log.info("online store answers again")
        self._answers = True
        return found

    def _row(self, found: CustomerFeatures) -> Row:
        features = self._contract.features
        unfit = [feature.name for feature in features if not _fits(feature, found.features)]
        if unfit:
            reason = "The online store holds no value that the model can read."
            problems = [{"field": f"features.{name}", "reason": reason} for name in unfit]
            message = "The stored features are not those of the model: send the features."
            raise RefusalError(503, "stored_features_unfit", message, problems)
        return [found.features[feature.name] for feature in features]


def _fits(feature: FeatureContract, stored: dict[str, float | str | None]) -> bool:
    if feature.name not in stored:
        return False
    value = stored[feature.name]
    if feature.categories or value is None:
        return True
    return not isinstance(value, str) and abs(value) <= LARGEST_FLOAT32
