"""API keys: a file of names and hashes, which a running endpoint reads again when it changes.

The file is JSON, ``{"<name>": {"sha256": "<64 hex digits>", "not_after": "2027-03-31"}}``. Only hashes are stored.
A key is 256 random bits, so nobody finds it by trying, and a hash that is slow on purpose would protect nothing: those
are for passwords, which people choose. SHA-256 costs a request one microsecond.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from prometheus_client import Counter
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from include.errors import ChurnflowError
from include.local_files import PRIVATE, write_atomically
from include.logs import get_logger

log = get_logger(__name__)

_PREFIX = "churn_"

RELOAD_FAILURES = Counter(
    "ml_api_keys_reload_failures_total", "Changes of the key file that could not be read: the former keys stay."
)


class KeyFileError(ChurnflowError):
    """The file of API keys cannot be read, or does not hold what it should."""


class ApiKey(BaseModel):
    """What is stored of a key.

    Attributes:
        sha256: The hash of the key, as hex digits.
        not_after: The last day on which it is accepted, in UTC; None for ever.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    not_after: dt.date | None = None

    def has_expired(self) -> bool:
        """Return whether its last day is over."""
        return self.not_after is not None and dt.datetime.now(dt.UTC).date() > self.not_after


# A name is a metric's label: short, and printable everywhere.
KeyName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
_KEYS = TypeAdapter(dict[KeyName, ApiKey])


def read_keys(path: Path) -> dict[str, ApiKey]:
    """Return the keys of a file by name.

    Raises:
        KeyFileError: It cannot be read, or is not a key file. The message repeats nothing of it.
    """
    try:
        return _KEYS.validate_json(path.read_bytes())
    except OSError as error:
        raise KeyFileError(
            f"The file of API keys cannot be read ({error.strerror}).",
            where=str(path),
            remedy="Create it by `python -m include.serving new-key NAME`, and let the endpoint's user read it.",
        ) from error
    except ValidationError as error:
        # Not chained: pydantic's message would show what the file holds.
        raise KeyFileError(
            f"The file of API keys breaks its format in {error.error_count()} places.",
            where=str(path),
            remedy='Write {"name": {"sha256": "64 hex digits", "not_after": "2027-03-31"}}.',
        ) from None


def add_key(path: Path, name: str, not_after: dt.date | None = None) -> str:
    """Make a key, write its hash to the file, and return the key, which is nowhere else.

    Args:
        path: The file, which is created when it is not there.
        name: Whose key it is: letters, digits, ``.``, ``_`` and ``-``.
        not_after: The last day on which it is accepted.

    Raises:
        KeyFileError: The name is taken or cannot be used, or the file is not a key file.
    """
    key = _PREFIX + secrets.token_urlsafe(32)
    with _only_writer(path):
        keys = read_keys(path) if path.exists() else {}
        if name in keys:
            raise KeyFileError(
                f"A key of the name {name} exists.", where=str(path), remedy="Choose another name, or revoke it first."
            )
        keys[name] = ApiKey(sha256=hashlib.sha256(key.encode()).hexdigest(), not_after=not_after)
        _write(path, keys)
    return key


def revoke_key(path: Path, name: str) -> None:
    """Remove a key from the file.

    Raises:
        KeyFileError: There is none of that name, or the file is not a key file.
    """
    with _only_writer(path):
        keys = read_keys(path)
        if keys.pop(name, None) is None:
            raise KeyFileError(f"There is no key of the name {name}.", where=str(path), remedy="List the keys.")
        _write(path, keys)


class KeyRing:
    """The keys that an endpoint accepts: those of the file, and of the file as it was when it can no longer be read.

    Args:
        path: The file.
        look_again_seconds: How often the file is looked at, at most, and so how long a revoked key is still accepted.

    Raises:
        KeyFileError: It cannot be read now. Later that is logged and counted, and the former keys stay.
    """

    def __init__(self, path: Path, look_again_seconds: float = 1.0) -> None:
        self._path = path
        self._look_again_seconds = look_again_seconds
        self._seen = _state_of(path)
        self._keys = _by_digest(read_keys(path))
        self._look_at = time.monotonic() + self._look_again_seconds

    def name_of(self, candidate: bytes) -> str | None:
        """Return the name of a key that is accepted now; None for anything else.

        Every stored hash is compared, and in constant time, so that nothing can be learned from how long it takes.
        """
        self._read_again_if_changed()
        digest = hashlib.sha256(candidate).digest()
        found: tuple[str, ApiKey] | None = None
        for stored, name, key in self._keys:
            if hmac.compare_digest(stored, digest):
                found = (name, key)
        if found is None or found[1].has_expired():
            return None
        return found[0]

    def _read_again_if_changed(self) -> None:
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + self._look_again_seconds
        state = _state_of(self._path)
        if state == self._seen:
            return
        self._seen = state
        try:
            self._keys = _by_digest(read_keys(self._path))
        except KeyFileError as error:
            RELOAD_FAILURES.inc()
            log.error("keys not read again", extra={"reason": str(error)})
            return
        log.info("keys read again", extra={"keys": len(self._keys)})


def _by_digest(keys: dict[str, ApiKey]) -> list[tuple[bytes, str, ApiKey]]:
    return [(bytes.fromhex(key.sha256), name, key) for name, key in keys.items()]


def _state_of(path: Path) -> tuple[int, int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_ino, state.st_size


@contextmanager
def _only_writer(path: Path) -> Iterator[None]:
    """Let one process at a time change the file: of two at once, one would undo the other's revocation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _write(path: Path, keys: dict[str, ApiKey]) -> None:
    try:
        content = _KEYS.dump_json(_KEYS.validate_python(keys), indent=2, exclude_none=True)
    except ValidationError as error:
        raise KeyFileError(
            "The name cannot be used.", where=str(path), remedy="Use up to 63 letters, digits, dots and dashes."
        ) from error
    write_atomically(path, content, PRIVATE)
