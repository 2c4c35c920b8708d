"""The desired state of serving: small files that name the Bento to serve, the one before it, and its shadow."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from include.errors import ChurnflowError
from include.local_files import PRIVATE, write_atomically
from include.training.model.bundle import Bundle

CURRENT: Literal["current.json"] = "current.json"
PREVIOUS: Literal["previous.json"] = "previous.json"
SHADOW: Literal["shadow.json"] = "shadow.json"


class PointerError(ChurnflowError):
    """A pointer file cannot be understood, or not be written."""


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

    @property
    def bundle(self) -> Path:
        """The folder of the model's bundle inside."""
        return Path(self.path) / "src" / "bundle"

    def load_bundle(self) -> Bundle:
        """Return the model's bundle inside.

        Raises:
            BundleError: The bundle is damaged or not there.
        """
        return Bundle.load(self.bundle)

    def as_dict(self) -> dict[str, str]:
        """Return the reference as plain JSON types, fit for XCom."""
        return asdict(self)


@dataclass(frozen=True)
class Order:
    """A pointer as it was written once: the same Bento may be asked for again.

    Attributes:
        number: Tells this writing from others.
        reference: The Bento; None when the pointer was removed.
    """

    number: str
    reference: BentoReference | None


NOTHING = Order(number="", reference=None)


def read_pointer(serving_dir: Path, name: str = CURRENT) -> BentoReference | None:
    """Return the Bento that pointer ``name`` points to; None when there is no such pointer.

    Raises:
        PointerError: The file is not a pointer.
    """
    return read_order(serving_dir, name).reference


def read_order(serving_dir: Path, name: str = CURRENT) -> Order:
    """Return pointer ``name`` as it was written last.

    Raises:
        PointerError: The file is not a pointer, or cannot be read.
    """
    path = serving_dir / name
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        number = content.pop("order", "")
        return Order(number, BentoReference(**content))
    except FileNotFoundError:
        return NOTHING
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise PointerError(
            "The file is not a pointer to a Bento.", where=str(path), remedy="Delete it and deploy a model again."
        ) from error


def write_pointer(serving_dir: Path, reference: BentoReference | None, name: str = CURRENT) -> Order:
    """Let pointer ``name`` point to ``reference``, atomically; None removes it.

    Raises:
        PointerError: It cannot be written, and points to where it pointed before.
    """
    path = serving_dir / name
    if reference is None:
        remove_state(path)
        return NOTHING
    order = Order(uuid.uuid4().hex, reference)
    write_state(path, reference.as_dict() | {"order": order.number})
    return order


def write_state(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``content`` as JSON, which only the owner can read, wholly or not at all.

    Raises:
        PointerError: It cannot be written, and holds what it held before.
    """
    try:
        write_atomically(path, json.dumps(content, indent=2), PRIVATE)
    except OSError as error:
        raise _not_written(path, error) from error


def remove_state(path: Path) -> None:
    """Remove the file, which need not be there.

    Raises:
        PointerError: It cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise _not_written(path, error) from error


def _not_written(path: Path, error: OSError) -> PointerError:
    return PointerError(
        f"The pointer cannot be written ({error.strerror}).",
        where=str(path),
        remedy="Free some space, and check who owns the folder.",
    )
