"""API keys: a file of names and hashes, which a running endpoint reloads when it changes.

The file is JSON, ``{"<name>": {"sha256": "<64 hex digits>", "not_after": "2027-03-31"}}``. It contains only hashes.
A key has 256 random bits and cannot be guessed, so a fast hash is enough: SHA-256 takes about one microsecond. Slow
hashes protect passwords that people choose.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import secrets
import time
from pathlib import Path
from typing import Annotated

from filelock import FileLock
from prometheus_client import Counter
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from include.errors import ChurnflowError
from include.local_files import PRIVATE, write_atomically
from include.logs import get_logger

log = get_logger(__name__)

_PREFIX = "churn_"

RELOAD_FAILURES = Counter(
    "ml_api_keys_reload_failures_total", "Failed reloads of the key file; the former keys stay valid."
)


class KeyFileError(ChurnflowError):
    """The file of API keys cannot be read, or has another format."""


class ApiKey(BaseModel):
    """The stored form of a key.

    Attributes:
        sha256: The hash of the key, as hex digits.
        not_after: The last day on which the key is valid, in UTC; None for no end.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    not_after: dt.date | None = None

    def has_expired(self) -> bool:
        """Return whether the last day is over."""
        return self.not_after is not None and dt.datetime.now(dt.UTC).date() > self.not_after


# A name is the value of a metric's label, so it must be short and printable.
KeyName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
_KEYS = TypeAdapter(dict[KeyName, ApiKey])


def read_keys(path: Path) -> dict[str, ApiKey]:
    """Return the keys of a file by name.

    Raises:
        KeyFileError: The file cannot be read, or is not a key file. The message does not contain any of its contents.
    """
    try:
        return _KEYS.validate_json(path.read_bytes())
    except OSError as error:
        raise KeyFileError(
            f"The file of API keys cannot be read ({error.strerror}).",
            where=str(path),
            remedy="Create it with `python -m include.serving new-key NAME`, and give the endpoint's user read access.",
        ) from error
    except ValidationError as error:
        # Not chained: pydantic's message would show the contents.
        raise KeyFileError(
            f"The file of API keys breaks its format in {error.error_count()} places.",
            where=str(path),
            remedy='Write {"name": {"sha256": "64 hex digits", "not_after": "2027-03-31"}}.',
        ) from None


def add_key(path: Path, name: str, not_after: dt.date | None = None) -> str:
    """Generate a key, write its hash to the file, and return the key; the key itself is not stored.

    Args:
        path: The file; created when it does not exist.
        name: The key's name: letters, digits, ``.``, ``_`` and ``-``.
        not_after: The last day on which the key is valid.

    Raises:
        KeyFileError: The name exists or is not allowed, or the file is not a key file.
    """
    key = _PREFIX + secrets.token_urlsafe(32)
    with _lock(path):
        keys = read_keys(path) if path.exists() else {}
        if name in keys:
            raise KeyFileError(
                f"A key named {name} exists.", where=str(path), remedy="Choose another name, or revoke that key first."
            )
        keys[name] = ApiKey(sha256=hashlib.sha256(key.encode()).hexdigest(), not_after=not_after)
        _write(path, keys)
    return key


def revoke_key(path: Path, name: str) -> None:
    """Remove a key from the file.

    Args:
        path: The file.
        name: The key's name.

    Raises:
        KeyFileError: The file has no key of that name, or is not a key file.
    """
    with _lock(path):
        keys = read_keys(path)
        if keys.pop(name, None) is None:
            raise KeyFileError(f"There is no key named {name}.", where=str(path), remedy="List the keys.")
        _write(path, keys)


class KeyRing:
    """The keys that an endpoint accepts: the keys in the file, or the former keys if a changed file is invalid.

    Args:
        path: The file.
        reload_seconds: The interval at which the file is checked for changes; a revoked key is accepted until then.

    Raises:
        KeyFileError: The file cannot be read at the start. Later failures are logged and counted.
    """

    def __init__(self, path: Path, reload_seconds: float = 1.0) -> None:
        self._path = path
        self._reload_seconds = reload_seconds
        self._state = _state_of(path)
        self._keys = _by_digest(read_keys(path))
        self._next_check = time.monotonic() + self._reload_seconds

    def name_of(self, candidate: bytes) -> str | None:
        """Return the name of a key that is valid now; None for any other value.

        Every stored hash is compared in constant time, so the duration does not depend on the keys.
        """
        self._reload_if_changed()
        digest = hashlib.sha256(candidate).digest()
        found: tuple[str, ApiKey] | None = None
        for stored, name, key in self._keys:
            if hmac.compare_digest(stored, digest):
                found = (name, key)
        if found is None or found[1].has_expired():
            return None
        return found[0]

    def _reload_if_changed(self) -> None:
        if time.monotonic() < self._next_check:
            return
        self._next_check = time.monotonic() + self._reload_seconds
        state = _state_of(self._path)
        if state == self._state:
            return
        self._state = state
        try:
            self._keys = _by_digest(read_keys(self._path))
        except KeyFileError as error:
            RELOAD_FAILURES.inc()
            log.error("keys not reloaded", extra={"reason": str(error)})
            return
        log.info("keys reloaded", extra={"keys": len(self._keys)})


def _by_digest(keys: dict[str, ApiKey]) -> list[tuple[bytes, str, ApiKey]]:
    return [(bytes.fromhex(key.sha256), name, key) for name, key in keys.items()]


def _state_of(path: Path) -> tuple[int, int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_ino, state.st_size


def _lock(path: Path) -> FileLock:
    """Return the lock for changes of the file; without it, one of two concurrent changes could be lost."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.with_name(f".{path.name}.lock"))


def _write(path: Path, keys: dict[str, ApiKey]) -> None:
    try:
        content = _KEYS.dump_json(_KEYS.validate_python(keys), indent=2, exclude_none=True)
    except ValidationError as error:
        raise KeyFileError(
            "The name is not allowed.", where=str(path), remedy="Use up to 63 letters, digits, dots and dashes."
        ) from error
    write_atomically(path, content, PRIVATE)
