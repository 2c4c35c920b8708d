"""Delete the parts of the installed packages that the endpoint does not import: ``python slim.py FOLDER``.

The folder is the ``site-packages`` of the serving image. Deleted are the tests and the headers of all packages, Arrow's
remote procedure calls, the subpackages of SciPy that XGBoost does not import, and the symbols for
debuggers. Half of the installed bytes remain.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ARROW = ("*flight*", "include", "libarrow_python*.so", "*.so.*.*")
"""The unused parts of pyarrow; the last two patterns are copies of one library."""
SOURCES = ("*.h", "*.pxd", "*.pxi", "*.pyi", "*.pyx")
"""Files for compilers and type checkers."""
PATCHED = ("numpy", "scipy", "*.libs")
"""Folders with libraries that the build of their wheel patched, so that `strip` would damage them."""


def slim(packages: Path) -> None:
    """Delete the unused parts of the packages in a folder.

    Args:
        packages: The folder ``site-packages``, from which this interpreter imports.

    Raises:
        subprocess.CalledProcessError: XGBoost cannot be imported, or a library could not be stripped.
    """
    # In another process: `strip` overwrites the files of libraries, which would end a process that has loaded them.
    program = [sys.executable, "-c", "import sys, xgboost; print(*sys.modules)"]
    used = subprocess.run(program, check=True, capture_output=True, text=True).stdout.split()
    unused = [path for path in (packages / "scipy").iterdir() if path.is_dir() and f"scipy.{path.name}" not in used]
    unused += [path for pattern in ARROW for path in (packages / "pyarrow").glob(pattern)]
    unused += [path for pattern in SOURCES for path in packages.rglob(pattern)]
    unused += [path for path in packages.rglob("tests") if path.is_dir()]
    for path in unused:
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    patched = {folder for pattern in PATCHED for folder in packages.glob(pattern)}
    libraries = [str(path) for path in packages.rglob("*.so*") if not patched & set(path.parents)]
    subprocess.run(["strip", "--strip-unneeded", *libraries], check=True)


if __name__ == "__main__":
    slim(Path(sys.argv[1]))
