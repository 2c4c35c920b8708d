"""The records of drills, which the readiness checks read: a restore from a backup, or a run of all tests."""

from __future__ import annotations

from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from include.errors import ChurnflowError
from include.local_files import write_atomically

RESTORE = "restore"
TESTS = "tests"


class DrillError(ChurnflowError):
    """The record of a drill is damaged."""


class DrillRecord(BaseModel):
    """The newest outcome of a drill.

    Attributes:
        drill: The name of the drill, such as ``restore``.
        carried_out: The time at which it ended.
        passed: Whether it succeeded.
        figures: What was measured, by name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    drill: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    carried_out: AwareDatetime
    passed: bool
    figures: dict[str, int | float | str] = {}


def write_drill(home: Path, record: DrillRecord) -> Path:
    """Write ``drills/<drill>.json`` in place of an earlier record, and return its path.

    Args:
        home: The folder of the deployment's local files.
        record: The outcome.
    """
    path = _path(home, record.drill)
    write_atomically(path, record.model_dump_json(indent=1) + "\n")
    return path


def read_drill(home: Path, drill: str) -> DrillRecord | None:
    """Return the newest outcome of a drill; None if it has not been recorded.

    Args:
        home: The folder of the deployment's local files.
        drill: The name of the drill.

    Raises:
        DrillError: The record is damaged.
    """
    path = _path(home, drill)
    try:
        return DrillRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise DrillError(
            "The file is not the record of a drill.",
            where=str(path),
            remedy="Remove the file, and carry out the drill again.",
        ) from error


def _path(home: Path, drill: str) -> Path:
    return home / "drills" / f"{drill}.json"
