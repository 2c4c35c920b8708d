"""The evidence of a load test: a JSON file and an HTML page."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from include.errors import ChurnflowError
from include.reporting import Page, Plot, Section, Table
from include.reporting.plots import BLUE, VERMILION, drawing
from include.serving.load_test.generator import Measurement
from include.serving.load_test.run import LoadTest, machine
from include.settings import require_project
from include.training.evaluation.requirements import Verdict

FOLDER = "load_test"
FILE = "load_test.json"
PAGE = "index.html"
PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)
# Above this share of a core, the generator itself may limit the throughput.
_BUSY = 0.85


class LoadReportError(ChurnflowError):
    """The result of a load test cannot be read."""


def write_evidence(test: LoadTest, project: str, started: dt.datetime, reports_dir: Path) -> Path:
    """Write ``load_test.json`` and ``index.html`` below ``reports_dir`` and return their folder.

    Args:
        test: The result of the load test.
        project: The project that defines the requirements.
        started: When the test began, UTC.
        reports_dir: The folder of the reports; the files are written to ``load_test/<started>/`` below it.
    """
    folder = reports_dir / FOLDER / started.strftime("%Y-%m-%dT%H%M%SZ")
    folder.mkdir(parents=True, exist_ok=True)
    content = document(test, project, started)
    (folder / FILE).write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    (folder / PAGE).write_text(page(test, project, started).html(), encoding="utf-8")
    return folder


def document(test: LoadTest, project: str, started: dt.datetime) -> dict[str, Any]:
    """Return the whole result as plain JSON types, with null for infinite values.

    Args:
        test: The result of the load test.
        project: The project that defines the requirements.
        started: When the test began, UTC.
    """
    return {
        **headline(test),
        "project": project,
        "started": started.isoformat(timespec="seconds"),
        "machine": machine(),
        "distinct_bodies": len(test.payloads.bodies),
        "runs": [{**_figures(run), "timeline": run.timeline()} for run in test.runs],
    }


def newest_load_test(reports_dir: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return the folder and the result of the newest load test; None if there is none.

    Args:
        reports_dir: The project's folder of reports, with the project's name.

    Raises:
        LoadReportError: The result is damaged.
        ProjectMismatchError: The load test is of another project.
    """
    path = max((reports_dir / FOLDER).glob(f"*/{FILE}"), default=None)
    if path is None:
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = content["project"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LoadReportError(
            "The file is not the result of a load test.", where=str(path), remedy="Remove it, and run `make loadtest`."
        ) from error
    require_project(found, reports_dir.name, what="The load test", where=path)
    return path.parent, content


def headline(test: LoadTest) -> dict[str, Any]:
    """Return the figures of the decisive run and the verdicts."""
    return {
        "passed": test.passed,
        "url": test.url,
        "model_version": test.payloads.model_version,
        "bento": test.payloads.bento,
        **_figures(test.decisive),
        "verdicts": [_finite(verdict.as_dict()) for verdict in test.verdicts],
    }


def line(run: Measurement) -> str:
    """Return one run as a line of text."""
    failed = f"{run.failed:,} failed ({_kinds(run)})" if run.failed else "none failed"
    return (
        f"{run.connections:4} connections: {run.per_second:,.0f} predictions/s, p50 {_ms(run.percentile_ms(50))}, "
        f"p99 {_ms(run.percentile_ms(99))}, {failed}"
    )


def page(test: LoadTest, project: str, started: dt.datetime) -> Page:
    """Return the HTML page.

    Args:
        test: The result of the load test.
        project: The project that defines the requirements.
        started: When the test began, UTC.
    """
    run, payloads = test.decisive, test.payloads
    lead = (
        f"Model version {payloads.model_version} of {project} (Bento {payloads.bento}) at {test.url}, "
        f"{started:%Y-%m-%d %H:%M} UTC: {run.connections} connections for {run.seconds:g} seconds; each connection "
        f"sent its next request after the last response."
    )
    sections = [_verdicts(test), _latency(run), *([_steps(test.runs)] if len(test.runs) > 1 else []), _conditions(test)]
    return Page("Load test", lead, sections)


def _figures(run: Measurement) -> dict[str, Any]:
    percentiles = {f"p{percent:g}_ms".replace(".", "_"): run.percentile_ms(percent) for percent in PERCENTILES}
    return _finite(
        {
            "connections": run.connections,
            "seconds": run.seconds,
            "answered": len(run.latencies),
            "failed": run.failed,
            "errors": run.errors,
            "predictions_per_second": round(run.per_second, 1),
            **{name: round(value, 3) for name, value in percentiles.items()},
            "generator_cpu_share": round(run.cpu_share, 3),
        }
    )


def _finite(content: dict[str, Any]) -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in content.items()
    }


def _verdicts(test: LoadTest) -> Section:
    missed = [verdict for verdict in test.verdicts if not verdict.ok]
    table = Table(
        ("requirement", "verdict", "when missed", "found", "required"), [_row(v) for v in test.verdicts], texts=3
    )
    return Section(
        "Requirements",
        badge="missed" if missed else "met" if test.verdicts else "not checked",
        good=not missed,
        paragraphs=["A failed request has an infinite latency."],
        tables=[table] if test.verdicts else (),
    )


def _row(verdict: Verdict) -> tuple[str, ...]:
    when_missed = "the test fails" if verdict.mode == "enabled" else "reported only"
    bound = f"{'at least' if verdict.bound == 'min' else 'at most'} {verdict.required:,.0f}"
    name, met = verdict.name.replace("_", " "), "met" if verdict.ok else "missed"
    return name, met, when_missed, f"{verdict.found:,.1f}", bound


def _latency(run: Measurement) -> Section:
    rows = [(f"{percent:g} %", _ms(run.percentile_ms(percent))) for percent in PERCENTILES]
    errors = [(kind, f"{count:,}") for kind, count in sorted(run.errors.items())] or [("none", "0")]
    return Section(
        "Latency and throughput",
        paragraphs=[f"{len(run.latencies):,} predictions, {run.per_second:,.0f} per second; {run.failed:,} failed."],
        plots=_plots(run),
        tables=[
            Table(("of all requests", "answered within"), rows, title="Latency"),
            Table(("kind", "requests"), errors, title="Errors"),
        ],
    )


def _plots(run: Measurement) -> list[Plot]:
    parts = run.timeline()
    return [
        _over_time("throughput", "Predictions per second", [(BLUE, "", _series(parts, "per_second"))]),
        _over_time(
            "latency",
            "Latency, ms",
            [(BLUE, "median", _series(parts, "p50_ms")), (VERMILION, "99 %", _series(parts, "p99_ms"))],
        ),
    ]


def _series(parts: Sequence[dict[str, Any]], name: str) -> tuple[list[float], list[float]]:
    known = [part for part in parts if part[name] is not None]
    return [part["second"] for part in known], [part[name] for part in known]


def _over_time(name: str, title: str, lines: Sequence[tuple[str, str, tuple[list[float], list[float]]]]) -> Plot:
    with drawing(name, 5.6, 2.8) as (axes, drawn):
        for (colour, label, (seconds, values)), dashes in zip(lines, ("-", "--"), strict=False):
            axes.plot(seconds, values, color=colour, linestyle=dashes, marker=".", label=label)
        axes.set(xlabel="Seconds", ylim=(0, None))
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.set_title(title)
        axes.grid(True, axis="y")
        if len(lines) > 1:
            axes.legend(loc="best")
    ranges = [
        f"{label or 'from'} {min(values):,.1f} to {max(values):,.1f}" for _, label, (_, values) in lines if values
    ]
    return Plot(name, f"{title} over time: {', '.join(ranges) or 'no answer'}.", drawn.getvalue())


def _steps(runs: Sequence[Measurement]) -> Section:
    rows = [
        (
            f"{run.connections:,}",
            f"{run.per_second:,.0f}",
            _ms(run.percentile_ms(50)),
            _ms(run.percentile_ms(99)),
            f"{run.failed:,}",
        )
        for run in runs
    ]
    columns = ("connections", "predictions/s", "median", "99 %", "failed")
    return Section("Increasing numbers of connections", tables=[Table(columns, rows, texts=0)])


def _conditions(test: LoadTest) -> Section:
    busy = max(run.cpu_share for run in test.runs)
    slow = (
        ["The generator used most of its core; the endpoint may be faster than these figures."] if busy > _BUSY else []
    )
    facts = machine()
    return Section(
        "Conditions",
        items=[
            f"Load from a machine with {facts['cores']} cores ({facts['processor']}), {facts['memory_gib']} GiB of "
            f"memory, {facts['system']}, Python {facts['python']}; an endpoint on the same machine shares them.",
            f"{len(test.payloads.bodies):,} different payloads, sent in turn; before the load the first hundred were "
            "sent one by one, and were answered correctly.",
            f"The load generator used {busy:.0%} of one core.",
            *slow,
        ],
    )


def _kinds(run: Measurement) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in sorted(run.errors.items()))


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:,.1f} ms" if math.isfinite(milliseconds) else "never"
