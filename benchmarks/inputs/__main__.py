"""``make bench NAME=inputs``: deliver odd inputs, and compare the result of each with the expected one.

The library is ingested by two processes, one on a machine in UTC and one on a machine in New York. The exit code is 1
if a value is wrong without an error, or if an input ends in a traceback.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.inputs import all_inputs
from benchmarks.inputs.run import deliver_all
from tests.postgres import running_postgres

FIGURES = ("right", "refused_by_name", "quarantined", "silent_wrong", "crashed")


def main(
    only: Annotated[str, typer.Option(help="Deliver only inputs whose name contains this text.")] = "",
) -> None:
    """Print one line for each input that was not as expected, and the figures as JSON on the last line."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="churnflow-inputs-") as folder, running_postgres() as host:
        verdicts = deliver_all(Path(folder), host, [name for name in all_inputs() if only in name])
    for item in verdicts:
        if item.figure in ("silent_wrong", "crashed"):
            print(f"{item.figure}: {item.name}: {item.found}")
    print(f"{time.perf_counter() - started:.0f} s", file=sys.stderr)
    counts = Counter(item.figure for item in verdicts)
    print(json.dumps({"inputs": len(verdicts), **{name: counts[name] for name in FIGURES}}))
    raise SystemExit(bool(counts["silent_wrong"] or counts["crashed"]))


if __name__ == "__main__":
    typer.run(main)
