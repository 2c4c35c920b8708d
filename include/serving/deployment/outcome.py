"""What the runner made of a pointer: it writes that down for those who wait for it, perhaps in another container."""

from __future__ import annotations

import datetime as dt
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from include.local_files import PRIVATE, write_atomically
from include.logs import get_logger
from include.serving.deployment.pointer import CURRENT, Order, read_order

log = get_logger(__name__)

State = Literal["starting", "serving", "failed"]

_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Outcome:
    """What became of one order.

    Attributes:
        order: The order's number.
        bento: The Bento that it names; empty when it names none.
        state: ``starting`` until it is known; ``serving``; or ``failed``, and what served before goes on.
        reason: Why it failed.
        at: When that was so, ISO 8601 in UTC.
    """

    order: str
    bento: str
    state: State
    reason: str
    at: str


def write_outcome(serving_dir: Path, order: Order, state: State, reason: str = "", name: str = CURRENT) -> None:
    """Write down what became of ``order``, an order of pointer ``name``; a full disk is logged and no error."""
    bento = order.reference.bento if order.reference else ""
    now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
    outcome = Outcome(order.number, bento, state, reason, now)
    try:
        write_atomically(_path(serving_dir, name), json.dumps(asdict(outcome), indent=2), PRIVATE)
    except OSError as error:
        log.error("outcome not written", extra={"bento": bento, "state": state, "reason": str(error)})


def read_outcome(serving_dir: Path, name: str = CURRENT) -> Outcome | None:
    """Return the latest outcome of pointer ``name``; None when there is none that can be understood."""
    try:
        return Outcome(**json.loads(_path(serving_dir, name).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def wait_for_outcome(serving_dir: Path, order: Order, seconds: float, name: str = CURRENT) -> Outcome | None:
    """Return what became of ``order`` as soon as that is known, or else after ``seconds`` what is known by then.

    Returns:
        The outcome; None when no runner has taken the order up, or when another one has taken its place.

    Raises:
        PointerError: The pointer cannot be read.
    """
    deadline = time.monotonic() + seconds
    while True:
        outcome = read_outcome(serving_dir, name)
        mine = outcome if outcome is not None and outcome.order == order.number else None
        if (mine is not None and mine.state != "starting") or time.monotonic() > deadline:
            return mine
        if read_order(serving_dir, name).number != order.number:
            return None
        time.sleep(_POLL_SECONDS)


def _path(serving_dir: Path, name: str) -> Path:
    return serving_dir / name.replace(".json", ".outcome.json")
