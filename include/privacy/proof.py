"""The proof of an erasure: what was removed, where and when, with a keyed hash in place of the customer's id."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from include.local_files import PRIVATE, write_atomically
from include.settings import Settings


@dataclass(frozen=True)
class Left:
    """A place where data of the customer may remain, and the reason."""

    where: str
    reason: str


@dataclass
class Erasure:
    """One run of an erasure.

    Attributes:
        at: The time at which it was started, with a time zone.
        dry_run: Whether the data is only counted.
        removed: The removed data by step, in the order of the steps; a step that was not finished is missing.
        left: The places where data of the customer may remain.
        finished: Whether all steps ended and nothing is left.
    """

    at: str
    dry_run: bool = False
    removed: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    left: list[Left] = field(default_factory=list)
    finished: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the erasure as plain JSON types."""
        return asdict(self)


class Proof:
    """The file with all erasures of one customer.

    Args:
        settings: The home folder and the project.
        key_id: The identifier of the key of the hash.
        customer_hash: The hash of the customer's id.
    """

    def __init__(self, settings: Settings, key_id: str, customer_hash: str) -> None:
        self.path = privacy_folder(settings) / "erasures" / f"{customer_hash[:32]}.json"
        self._head = {"project": settings.project, "customer_hash": customer_hash, "key_id": key_id}
        self._earlier = json.loads(self.path.read_text())["erasures"] if self.path.is_file() else []

    def write(self, erasure: Erasure) -> None:
        """Write the proof with the present state of an erasure, and with the erasures before it."""
        content = self._head | {"erasures": [*self._earlier, erasure.as_dict()]}
        write_atomically(self.path, json.dumps(content, indent=2) + "\n", PRIVATE)


def privacy_folder(settings: Settings) -> Path:
    """Return the project's folder of requests and proofs."""
    return settings.home / "privacy" / settings.project


def timestamp(at: dt.datetime) -> str:
    """Return a time in UTC, to the second."""
    return at.astimezone(dt.UTC).isoformat(timespec="seconds")
