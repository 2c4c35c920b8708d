"""The product's source files that a model or a service needs at run time, derived from the imports."""

from __future__ import annotations

from modulefinder import ModuleFinder
from pathlib import Path

from include.settings import ROOT


def source_files(*modules: str) -> list[Path]:
    """Return the files of the modules, and the files of ``include/`` that they import, directly and indirectly.

    Imports inside functions and under ``TYPE_CHECKING`` count, too. Libraries are left out.

    Args:
        *modules: Dotted names of modules of ``include``.

    Returns:
        Absolute paths, sorted.

    Example:
        >>> [str(path.relative_to(ROOT)) for path in source_files("include.errors")]
        ['include/__init__.py', 'include/errors.py']
    """
    finder = ModuleFinder(path=[str(ROOT)])
    for module in modules:
        finder.import_hook(module)
    files = (getattr(module, "__file__", None) for module in finder.modules.values())
    return sorted(Path(file) for file in files if file and Path(file).is_relative_to(ROOT / "include"))
