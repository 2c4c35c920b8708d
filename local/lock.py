"""``python -m local.lock``: check that the lock files match the dependencies in pyproject.toml, without a network.

``make lock`` writes a digest of everything that it resolves into the header of each lock file. The check computes the
digest again. Only the standard library is imported, so that the script runs before the environment exists.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tomllib
from pathlib import Path

LOCKS = ("requirements.txt", "requirements-dev.txt", "requirements-spark.txt")


def digest(project: Path) -> str:
    """Return a digest of the Python versions, platforms and dependencies in pyproject.toml of ``project``."""
    pyproject = tomllib.loads((project / "pyproject.toml").read_text())
    resolved = [
        pyproject["project"]["requires-python"],
        pyproject["tool"]["uv"]["environments"],
        sorted(pyproject["project"]["dependencies"]),
        pyproject["project"].get("optional-dependencies", {}),
        pyproject["dependency-groups"],
    ]
    return hashlib.sha256(json.dumps(resolved, sort_keys=True).encode()).hexdigest()[:16]


def stale_locks(project: Path) -> list[str]:
    """Return the lock files in ``project`` that were compiled from other dependencies than those of pyproject.toml."""
    header = f"make lock ({digest(project)})"
    return [name for name in LOCKS if header not in (project / name).read_text()[:300]]


if __name__ == "__main__":
    root = Path(__file__).resolve().parent.parent
    if sys.argv[1:] == ["--digest"]:
        print(digest(root))
    elif stale := stale_locks(root):
        sys.exit(
            f"{' and '.join(stale)}: not compiled from the dependencies in pyproject.toml. Remedy: run `make lock`."
        )
