from __future__ import annotations

import subprocess
import sys

from include.settings import ROOT
from include.training.model.source_files import source_files


def test_source_files_contain_every_imported_module() -> None:
    module = "include.training.model.pyfunc"
    code = f"import sys, {module}; print(*(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'include'))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    files = {str(path) for path in source_files(module)}
    assert set(loaded.stdout.split()) <= files
    assert not any("/projects/" in path for path in files)
