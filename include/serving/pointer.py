"""The desired state of serving: two small files that name the Bento to serve and the one before it."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from include.errors import ChurnflowError

CURRENT = "current.json"
PREVIOUS = "previous.json"


class PointerError(ChurnflowError):
    """A pointer file cannot be understood."""


@dataclass(frozen=True)
class BentoReference:
    """A Bento on disk.

    Attributes:
        bento: The Bento's version.
        model_version: The registry's version of the model inside.
        path: Its folder.
    """

    bento: str
    model_version: str
    path: str

    def as_dict(self) -> dict[str, str]:
        """Return the reference as plain JSON types, fit for XCom."""
        return asdict(self)


def read_pointer(serving_dir: Path, name: str = CURRENT) -> BentoReference | None:
    """Return the Bento that pointer ``name`` points to; None when there is no such pointer.

    Raises:
        PointerError: The file is not a pointer.
    """
    path = serving_dir / name
    try:
        return BentoReference(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise PointerError(
            "The file is not a pointer to a Bento.", where=str(path), remedy="Delete it and deploy a model again."
        ) from error


def write_pointer(serving_dir: Path, reference: BentoReference | None, name: str = CURRENT) -> None:
    """Let pointer ``name`` point to ``reference``, atomically; None removes it."""
    path = serving_dir / name
    if reference is None:
        path.unlink(missing_ok=True)
        return
    serving_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=serving_dir, prefix=f".{name}.", delete=False, encoding="utf-8") as file:
        json.dump(reference.as_dict(), file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).replace(path)
