"""The last line of benchmarks, and what small runs of them find."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from benchmarks.tuning import contend, headline
from include.settings import ROOT


def cost(cpu: float, wall: float, f1: float) -> dict[str, object]:
    return {"cpu_seconds": cpu, "wall_seconds": wall, "f1": f1}


def test_tuning_compares_score_and_cost() -> None:
    found = {"ours": cost(10, 5, 0.75), "guide": cost(120, 60, 0.74)}
    figures = headline(found, 10_000)
    assert figures == {"cpu_ratio": 12, "wall_ratio": 12, "f1_guide": 0.74, "f1_ours": 0.75, "rows": 10_000}


@pytest.mark.slow
@pytest.mark.parametrize("contender", ["ours", "guide_one_thread"])
def test_a_contender_chooses_within_the_guides_space(contender: str) -> None:
    done = contend(contender, rows=300, trials=1)
    assert 0 < done["f1"] < 1
    assert done["cpu_seconds"] > 0
    assert 100 <= done["chosen"]["n_estimators"] <= 500
    assert 3 <= done["chosen"]["max_depth"] <= 10


def last_line(*command: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return figures


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_scoring_tells_rows_a_second_and_memory() -> None:
    figures = last_line("benchmarks.scoring", "--customers", "2000", "--features", "20", "--trees", "10")
    assert list(figures) == ["rows_per_s", "peak_gb"]
    assert 0 < float(str(figures["peak_gb"])) < 24
