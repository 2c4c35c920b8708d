"""The last line of benchmarks, and what small runs of them find."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from benchmarks.tuning import Choice, at_equal_cpu, compare, draw, naive, product
from include.settings import ROOT


def choices(*points: tuple[float, float]) -> list[Choice]:
    """Return a search's choices from its processor times and scores."""
    return [Choice(cpu, {}, f1) for cpu, f1 in points]


LOOP = choices((40, 0.70), (80, 0.71), (120, 0.72), (160, 0.73), (200, 0.74))


@pytest.mark.parametrize(
    ("mine", "ratio", "trials"),
    [
        (choices((10, 0.74), (20, 0.75)), 20.0, 1),
        (choices((10, 0.74), (20, 0.73), (40, 0.75)), 5.0, 3),  # lost again after the first trial
        (choices((10, 0.74), (20, 0.73)), 1.0, None),
        (choices((10, 0.7), (400, 0.73)), 0.5, None),
    ],
)
def test_time_counts_until_the_score_is_reached_and_kept(mine: list[Choice], ratio: float, trials: int | None) -> None:
    figures = compare(LOOP, mine)
    assert (figures["ratio"], figures["reached_after_trials"]) == (ratio, trials)
    assert (figures["f1_naive"], figures["f1_ours"]) == (0.74, mine[-1].f1)


def test_scores_at_equal_processor_time() -> None:
    pairs = [(LOOP, choices((50, 0.8), (200, 0.75), (201, 0.1))), (LOOP, choices((10, 0.73), (300, 0.9)))]
    assert at_equal_cpu(pairs) == {5: {"gain": 0.0, "standard_error": 0.01}}


@pytest.mark.slow
def test_both_searches_choose_within_the_same_space() -> None:
    data = draw(300, seed=1)
    for choice in (*naive(data, 1), *product(data, 1)[0]):
        assert choice.cpu_seconds > 0
        assert 0 < choice.f1 < 1
        assert 100 <= choice.chosen["n_estimators"] <= 500
        assert 3 <= choice.chosen["max_depth"] <= 10


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
