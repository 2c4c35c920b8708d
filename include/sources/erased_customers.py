"""The erased customers, whose rows no delivery may bring back.

The lake contains a keyed hash of each id (HMAC-SHA256), from which the id cannot be computed without the key. With the
key, the hash of each delivered id is compared with the hashes in the lake.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa
from pydantic import SecretStr

from include.errors import ChurnflowError
from include.lake import Lake
from include.lake.table_names import ERASED_TABLE
from include.settings import PrivacySettings

_SCHEMA = pa.schema([("dt", pa.date32()), ("key_id", pa.string()), ("customer_hash", pa.string())])


class PrivacyKeyError(ChurnflowError):
    """The key of the hashes of erased customers is missing, or is another key."""


@dataclass(frozen=True)
class ErasedCustomers:
    """The hashes of the erased customers by the key that made them; empty if no customer was erased."""

    hashes: Mapping[str, frozenset[str]] = field(default_factory=dict, repr=False)

    def __bool__(self) -> bool:
        return bool(self.hashes)

    def __contains__(self, customer_id: str) -> bool:
        return any(_hash(key, customer_id) in found for key, found in self.hashes.items())


def customer_hash(customer_id: str, privacy: PrivacySettings) -> str:
    """Return the hash of an id with the current key.

    Args:
        customer_id: The id, as gold has it.
        privacy: The keys.

    Raises:
        PrivacyKeyError: There is no key.
    """
    return _hash(_current_key(privacy), customer_id)


def key_id(privacy: PrivacySettings) -> str:
    """Return the identifier of the current key, which does not reveal it.

    Raises:
        PrivacyKeyError: There is no key.
    """
    return _key_id(_current_key(privacy))


def record_erased(lake: Lake, customer_id: str, privacy: PrivacySettings, day: dt.date) -> None:
    """Record the hash of an erased customer, unless it is recorded. Only one process may call this at a time.

    Args:
        lake: The lake.
        customer_id: The id, as gold has it.
        privacy: The keys.
        day: The day of the erasure.

    Raises:
        PrivacyKeyError: There is no key, or the key of an earlier erasure is missing.
    """
    hashed = customer_hash(customer_id, privacy)
    if customer_id in read_erased(lake, privacy):
        return
    table, row = lake.table(ERASED_TABLE), {"dt": day, "key_id": key_id(privacy), "customer_hash": hashed}
    known = table.read([day]).cast(_SCHEMA) if table.exists() else _SCHEMA.empty_table()
    table.replace([day], pa.concat_tables([known, pa.Table.from_pylist([row], _SCHEMA)]))


def read_erased(lake: Lake, privacy: PrivacySettings) -> ErasedCustomers:
    """Return the erased customers.

    Args:
        lake: The lake.
        privacy: The keys.

    Raises:
        PrivacyKeyError: A key with which hashes were made is missing.
    """
    table = lake.table(ERASED_TABLE)
    if not table.exists():
        return ErasedCustomers()
    keys = {_key_id(text): text for key in (privacy.key, *privacy.old_keys) if (text := _text(key))}
    hashes: dict[str, set[str]] = {}
    for row in table.read(table.days()).to_pylist():
        if row["key_id"] not in keys:
            raise PrivacyKeyError(
                f"Customers were erased with the key {row['key_id']}, which is not configured. Without it, their rows"
                " cannot be recognised, and would return.",
                where=table.uri,
                remedy="Set CHURN_PRIVACY__KEY to this key, or add it to CHURN_PRIVACY__OLD_KEYS.",
            )
        hashes.setdefault(keys[row["key_id"]], set()).add(row["customer_hash"])
    return ErasedCustomers({key: frozenset(found) for key, found in hashes.items()})


def _current_key(privacy: PrivacySettings) -> str:
    if not _text(privacy.key):
        raise PrivacyKeyError(
            "There is no key for the hashes of erased customers.",
            where="environment variable CHURN_PRIVACY__KEY",
            remedy="Set it to a random secret, such as `openssl rand -hex 32` prints, for all processes of Airflow.",
        )
    return _text(privacy.key)


def _text(key: SecretStr) -> str:
    return key.get_secret_value()


def _key_id(key: str) -> str:
    return _hash(key, "")[:16]


def _hash(key: str, customer_id: str) -> str:
    return hmac.new(key.encode(), customer_id.encode(errors="surrogatepass"), hashlib.sha256).hexdigest()
