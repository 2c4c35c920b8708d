from __future__ import annotations

import subprocess
import sys

import pytest

from include.settings import ROOT
from include.training.model.source_files import source_files


@pytest.mark.parametrize("module", ["include.training.model.pyfunc", "include.training.release.registry"])
def test_source_files_contain_every_imported_module(module: str) -> None:
    code = f"import sys, {module}; print(*(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'include'))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    files = {str(path) for path in source_files(module)}
    assert set(loaded.stdout.split()) <= files
    assert not any("/projects/" in path for path in files)
