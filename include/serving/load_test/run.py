"""A load test: questions, load, and verdicts by the project's requirements."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from include.projects.requirements import Performance
from include.serving.load_test.generator import generate_load
from include.serving.load_test.measurement import Measurement
from include.serving.load_test.questions import PREDICT, Questions
from include.serving.load_test.target import Target
from include.training.evaluation.requirements import Verdict

_LONGEST_WARM_UP = 2.0
_MOST_CONNECTIONS = 1024


@dataclass(frozen=True)
class LoadTest:
    """What a load test found.

    Attributes:
        url: The endpoint.
        questions: What it was asked, and which model answered.
        runs: One run, or several with more connections each.
        decisive: The run that the verdicts are about.
        verdicts: The project's requirements against that run; empty where they are disabled.
    """

    url: str
    questions: Questions
    runs: Sequence[Measurement]
    decisive: Measurement
    verdicts: Sequence[Verdict]

    @property
    def passed(self) -> bool:
        """Whether no requirement whose mode is ``enabled`` was missed."""
        return all(verdict.ok for verdict in self.verdicts if verdict.mode == "enabled")


Report = Callable[[Measurement], None]


def load_at(
    url: str, questions: Questions, performance: Performance, connections: int, seconds: float, report: Report
) -> LoadTest:
    """Load an endpoint with so many connections, and judge it.

    Args:
        url: The endpoint's base address.
        questions: What to ask.
        performance: What the project requires.
        connections: How many requests are on their way at any time.
        seconds: How long.
        report: Told of the run once it has ended.

    Raises:
        TargetError: ``url`` is not an address.
    """
    run = _load(url, questions, connections, seconds)
    report(run)
    return LoadTest(url, questions, [run], run, judge(run, performance))


def find_limit(url: str, questions: Questions, performance: Performance, seconds: float, report: Report) -> LoadTest:
    """Double the connections until the latency is more than the project allows, or too many requests fail.

    The run that counts is the one with the highest throughput among those that kept the latency; the first, if none
    did.

    Args:
        url: The endpoint's base address.
        questions: What to ask.
        performance: What the project requires.
        seconds: How long each run lasts.
        report: Told of every run once it has ended.

    Raises:
        TargetError: ``url`` is not an address.
    """
    runs: list[Measurement] = []
    for connections in _doubling():
        runs.append(_load(url, questions, connections, seconds))
        report(runs[-1])
        if not _holds(runs[-1], performance):
            break
    kept = [run for run in runs if _holds(run, performance)] or runs[:1]
    decisive = max(kept, key=lambda run: run.per_second)
    return LoadTest(url, questions, runs, decisive, judge(decisive, performance))


def judge(run: Measurement, performance: Performance) -> list[Verdict]:
    """Compare a run with what the project requires of its endpoint; raises nothing.

    A request that failed counts as one that was never answered.
    """
    if performance.mode == "disabled":
        return []
    return [
        Verdict(
            "inference_p99_ms",
            "max",
            performance.max_inference_p99_ms,
            run.percentile_ms(99),
            "under_load",
            performance.mode,
        ),
        Verdict(
            "predictions_per_second",
            "min",
            performance.min_predictions_per_second,
            run.per_second,
            "under_load",
            performance.mode,
        ),
    ]


def machine() -> dict[str, str | int]:
    """Return on what machine the load is made, which may be the endpoint's as well."""
    return {
        "cores": os.cpu_count() or 1,
        "processor": _processor(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
    }


def _load(url: str, questions: Questions, connections: int, seconds: float) -> Measurement:
    target = Target.parse(url)
    requests = [target.post(PREDICT, body, "application/json", questions.headers) for body in questions.bodies]
    # The first requests of a connection, and of a server that has rested, are not what lasts.
    generate_load(target, requests, connections, min(_LONGEST_WARM_UP, seconds / 10))
    return generate_load(target, requests, connections, seconds)


def _holds(run: Measurement, performance: Performance) -> bool:
    return run.percentile_ms(99) <= performance.max_inference_p99_ms


def _doubling() -> Iterator[int]:
    connections = 1
    while connections <= _MOST_CONNECTIONS:
        yield connections
        connections *= 2


def _processor() -> str:
    # On Linux the platform module returns only the architecture.
    described = Path("/proc/cpuinfo")
    for line in described.read_text(encoding="utf-8").splitlines() if described.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
