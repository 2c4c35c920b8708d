"""The files and modules that the documentation names exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from include.settings import ROOT

PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("helm/*.md"), *ROOT.glob("docker/*.md")]
    if path.name != "CHANGELOG.md"
)
PATH = re.compile(r"`((?:include|dags|plugins|simulator|local|benchmarks|tests|docs|helm|docker|bin)/[\w./-]+)`")
EXAMPLES = {"include/projects/telecom/"}
"""Files that a reader creates."""
COMMAND = re.compile(r"python -m ((?:include|simulator|local|benchmarks)[\w.]*)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_named_files_and_commands_exist(page: Path) -> None:
    text = page.read_text()
    missing = [name for name in PATH.findall(text) if name not in EXAMPLES and not (ROOT / name).exists()]
    for module in COMMAND.findall(text):
        path = ROOT / module.replace(".", "/")
        if not (path.with_suffix(".py").exists() or (path / "__main__.py").exists()):
            missing.append(module)
    assert not missing, f"{page.relative_to(ROOT)} names what does not exist"
