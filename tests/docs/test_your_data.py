"""The commands of docs/your-data.md run in a copy of the source tree, and its example is a valid project."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from include.projects.features import Aggregate, Attribute, DaysSince, Ratio, Share, Trend
from include.projects.loader import examine_project
from include.settings import ROOT
from tests.docs.blocks import blocks

DOCUMENT = "your-data.md"


def example(folder: Path, *, instead: bool = False) -> None:
    """Write the files of the example; ``instead`` selects the alternative files."""
    for block in blocks(DOCUMENT, "yaml"):
        name = re.match(r"# (\w+\.yaml)(, instead)?\n", block)
        assert name, block
        if instead or not name[2]:
            (folder / name[1]).write_text(block)


@pytest.mark.parametrize("instead", [False, True])
def test_example_with_time_is_valid(tmp_path: Path, instead: bool) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    example(folder, instead=instead)
    project, problems = examine_project("shop", tmp_path)
    assert project is not None, problems
    assert project.label.kind == ("no_event" if instead else "becomes")


def test_example_has_all_functions(tmp_path: Path) -> None:
    kinds = (Aggregate, Share, Ratio, Trend, Attribute, DaysSince)
    known = {name for kind in kinds for name in get_args(kind.model_fields["function"].annotation)}
    (features,) = [block for block in blocks(DOCUMENT, "yaml") if block.startswith("# features.yaml")]
    assert set(re.findall(r"function: (\w+)", features)) == known


@pytest.mark.slow
@pytest.mark.timeout(960)  # a bound for a busy machine, not the expected duration
def test_commands_train_a_first_model(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "include", tmp_path / "include", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parent.parent)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("CHURN_") and key != "PYTHONPATH"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(blocks(DOCUMENT, "bash"))],
        cwd=tmp_path,
        env=kept | {"OMP_WAIT_POLICY": "passive"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert "Project telecom is valid" in done.stdout
    assert json.loads(done.stdout.splitlines()[-1])["promoted"]

    (shown,) = blocks(DOCUMENT, "text")
    figures = dict(line.split()[:2] for line in shown.splitlines() if line.startswith(("AUC", "PR-AUC")))
    assert set(figures) == {"AUC", "PR-AUC"}
    for name, figure in figures.items():
        found = re.search(rf"^{name} +([\d.]+) ", done.stdout, flags=re.MULTILINE)
        assert found, name
        assert float(found[1]) == pytest.approx(float(figure), abs=0.03)
    # The output in the document has the same lines.
    for title in (line[:21].strip() for line in shown.splitlines()):
        assert f"\n{title} " in done.stdout, title
