"""The examples in docstrings give the results that they show."""

import doctest
import importlib
from io import StringIO
from pathlib import Path

import pytest

from include.settings import ROOT

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
FILES = sorted(
    path.relative_to(ROOT)
    for package in ("include", "simulator", "local")
    for path in (ROOT / package).rglob("*.py")
    if ">>> " in path.read_text()
)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_examples_run(path: Path) -> None:
    name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    output = StringIO()
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    for example in doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name)):
        runner.run(example, out=output.write)
    assert runner.failures == 0, output.getvalue()
