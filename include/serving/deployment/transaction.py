"""The pointers' side of a rollout: both move at its beginning, and it commits or undoes that at its end.

What served when it began is kept on disk until then. A rollout that was killed leaves the pointers at a Bento that
perhaps never served; the next one finds here what to go back to. Of two at a time the later one wins, since somebody
wanted it more recently: the earlier one finds its order replaced, and leaves everything as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from filelock import FileLock

from include.errors import ChurnflowError
from include.serving.deployment.outcome import read_outcome
from include.serving.deployment.pointer import (
    CURRENT,
    PREVIOUS,
    SHADOW,
    BentoReference,
    Order,
    PointerError,
    read_order,
    read_pointer,
    remove_state,
    write_pointer,
    write_state,
)

ROLLOUT = "rollout.json"
_LOCK = "rollout.lock"


class SupersededError(ChurnflowError):
    """Another rollout has begun meanwhile, and its Bento is the desired one."""


@dataclass(frozen=True)
class Before:
    """Both pointers before a rollout.

    Attributes:
        current: The Bento that served.
        previous: The one that served before it.
    """

    current: BentoReference | None
    previous: BentoReference | None


@dataclass(frozen=True)
class Transaction:
    """A rollout that has begun.

    Attributes:
        serving_dir: Where the pointers lie.
        before: What they were.
        order: What the runner is asked for.
    """

    serving_dir: Path
    before: Before
    order: Order

    @classmethod
    def begin(cls, serving_dir: Path, candidate: BentoReference) -> Self:
        """Ask for ``candidate``, and keep what is to be restored if it does not come into service.

        What a rollout that was killed has kept stays: nobody has confirmed that its Bento serves.

        Raises:
            PointerError: A file cannot be read or written; the pointers are what they were.
        """
        with _locked(serving_dir):
            before = _read(serving_dir)
            if before is None:
                before = Before(read_pointer(serving_dir), read_pointer(serving_dir, PREVIOUS))
                write_state(serving_dir / ROLLOUT, asdict(before))
            served = before.previous if candidate == before.current else before.current
            try:
                write_pointer(serving_dir, served, PREVIOUS)
                return cls(serving_dir, before, write_pointer(serving_dir, candidate))
            except PointerError:
                with suppress(PointerError):
                    _restore(serving_dir, before)
                raise

    def commit(self) -> None:
        """Go on from where the pointers point now.

        Raises:
            SupersededError: They point elsewhere by now.
            PointerError: A file cannot be read or removed.
        """
        with self._still_mine():
            remove_state(self.serving_dir / ROLLOUT)

    def undo(self) -> None:
        """Let the pointers point to where they pointed before.

        Raises:
            SupersededError: Another rollout has moved them; they stay.
            PointerError: One cannot be written. What to restore is still there for the next rollout.
        """
        with self._still_mine():
            _restore(self.serving_dir, self.before)

    @contextmanager
    def _still_mine(self) -> Iterator[None]:
        with _locked(self.serving_dir):
            current = read_order(self.serving_dir)
            if current.number != self.order.number:
                wanted = current.reference.bento if current.reference else "none"
                raise SupersededError(
                    f"Another rollout has begun meanwhile; the desired Bento is {wanted}.",
                    where=str(self.serving_dir),
                    remedy="See what serves when that one has ended, and deploy again if you want another version.",
                )
            yield


def served_bento(serving_dir: Path) -> BentoReference | None:
    """Return the Bento that serves, which during a rollout is the former one until the new one answers.

    Raises:
        PointerError: A file cannot be read.
    """
    order, before = _order_and_before(serving_dir)
    outcome = read_outcome(serving_dir)
    if before is None or (outcome is not None and (outcome.order, outcome.state) == (order.number, "serving")):
        return order.reference
    return before.current


def bentos_in_use(serving_dir: Path) -> set[str]:
    """Return the versions of all Bentos that are served, that were before, or that a rollout may go back to.

    Raises:
        PointerError: A file cannot be read.
    """
    before = _read(serving_dir)
    pointers = [read_pointer(serving_dir, name) for name in (CURRENT, PREVIOUS, SHADOW)]
    if before is not None:
        pointers += [before.current, before.previous]
    return {pointer.bento for pointer in pointers if pointer is not None}


def _order_and_before(serving_dir: Path) -> tuple[Order, Before | None]:
    """Return both as they are between two rollouts or within one; whoever only reads takes no lock."""
    while True:
        before, order = _read(serving_dir), read_order(serving_dir)
        if _read(serving_dir) == before:
            return order, before


@contextmanager
def _locked(serving_dir: Path) -> Iterator[None]:
    serving_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(serving_dir / _LOCK):
        yield


def _restore(serving_dir: Path, before: Before) -> None:
    write_pointer(serving_dir, before.previous, PREVIOUS)
    write_pointer(serving_dir, before.current)
    remove_state(serving_dir / ROLLOUT)


def _read(serving_dir: Path) -> Before | None:
    path = serving_dir / ROLLOUT
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Before(*(_reference(content[name]) for name in ("current", "previous")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise PointerError(
            "The file does not say what served when a rollout began.",
            where=str(path),
            remedy="Delete it and deploy again.",
        ) from error


def _reference(content: dict[str, str] | None) -> BentoReference | None:
    return None if content is None else BentoReference(**content)
