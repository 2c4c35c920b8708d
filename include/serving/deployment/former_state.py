"""The serving state of release 0.1.0: JSON files in the folder that all projects shared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from include.errors import ChurnflowError


class FormerStateError(ChurnflowError):
    """A file of the serving state of release 0.1.0 is damaged."""


def former_versions(serving_dir: Path) -> list[str]:
    """Return the model versions of a project that release 0.1.0 left in service: the former, then the serving version.

    Args:
        serving_dir: The project's folder of the deployment.

    Raises:
        FormerStateError: A file is damaged.
    """
    folder, project = serving_dir.parent, serving_dir.name
    # The Bento of an interrupted rollout has not come into service.
    before = _read(folder / "rollout.json")
    found = [before[name] if before else _read(folder / f"{name}.json") for name in ("previous", "current")]
    return [str(bento["model_version"]) for bento in found if bento and _project_of(Path(bento["path"])) == project]


def _project_of(bento: Path) -> str:
    contract = _read(bento / "src" / "bundle" / "contract.json")
    return str(contract["project"]) if contract else ""


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise FormerStateError(
            "The file of release 0.1.0 cannot be read.", where=str(path), remedy="Remove it, and deploy a model again."
        ) from error
