"""What served when a rollout began, kept on disk until the rollout has ended.

A rollout moves two pointers and then waits for its Bento. Killed in between, it leaves them at a Bento that perhaps
never served; the next one finds here where to go back to.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from include.serving.deployment.pointer import (
    CURRENT,
    PREVIOUS,
    BentoReference,
    PointerError,
    read_pointer,
    remove_state,
    write_pointer,
    write_state,
)

RESTORE_POINT = "rollout.json"


@dataclass(frozen=True)
class RestorePoint:
    """Both pointers before a rollout.

    Attributes:
        current: The Bento that served.
        previous: The one that served before it.
    """

    current: BentoReference | None
    previous: BentoReference | None

    def restore(self, serving_dir: Path) -> None:
        """Let both pointers point to where they pointed then.

        Raises:
            PointerError: One cannot be written. The restore point is still there for the next rollout.
        """
        write_pointer(serving_dir, self.previous, PREVIOUS)
        write_pointer(serving_dir, self.current)
        forget_restore_point(serving_dir)


def keep_restore_point(serving_dir: Path) -> RestorePoint:
    """Keep where the pointers point, until it is restored or forgotten.

    What a rollout that was killed has kept stays: nobody has confirmed that its Bento serves.

    Raises:
        PointerError: A pointer cannot be read, or the restore point not be written.
    """
    path = serving_dir / RESTORE_POINT
    kept = _read(path)
    if kept is not None:
        return kept
    point = RestorePoint(read_pointer(serving_dir, CURRENT), read_pointer(serving_dir, PREVIOUS))
    write_state(path, asdict(point))
    return point


def forget_restore_point(serving_dir: Path) -> None:
    """Go on from where the pointers point now.

    Raises:
        PointerError: It cannot be removed.
    """
    remove_state(serving_dir / RESTORE_POINT)


def _read(path: Path) -> RestorePoint | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return RestorePoint(**{name: _reference(content[name]) for name in ("current", "previous")})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise PointerError(
            "The file does not say where a rollout began.", where=str(path), remedy="Delete it and deploy again."
        ) from error


def _reference(content: dict[str, str] | None) -> BentoReference | None:
    return None if content is None else BentoReference(**content)
