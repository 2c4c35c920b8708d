"""Deliver the library with two processes: one on a machine in UTC, one on a machine in New York."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

from benchmarks.inputs import all_inputs
from benchmarks.inputs.library import MACHINES, Verdict, judge
from benchmarks.inputs.shop import Shop


def deliver_all(folder: Path, host: str, names: Sequence[str]) -> list[Verdict]:
    """Deliver inputs, with a process for each machine.

    Args:
        folder: A scratch folder.
        host: The folder of the socket of a PostgreSQL server.
        names: The names of the inputs.
    """
    with ExitStack() as stack:
        pools = {}
        for machine in MACHINES:
            # A process takes its time zone from the environment when it starts.
            with patch.dict(os.environ, TZ=machine):
                pools[machine] = stack.enter_context(ProcessPoolExecutor(1, get_context("spawn")))
                pools[machine].submit(time.tzset).result()
        machines = [all_inputs()[name].machine or MACHINES[number % len(MACHINES)] for number, name in enumerate(names)]
        arguments = zip(names, machines, strict=True)
        tasks = [pools[machine].submit(deliver, name, folder, host) for name, machine in arguments]
        return [task.result() for task in tasks]


def deliver(name: str, folder: Path, host: str) -> Verdict:
    """Deliver one input to a shop of its own.

    Args:
        name: The input's name.
        folder: A scratch folder.
        host: The folder of the socket of a PostgreSQL server.
    """
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="shop", dir=folder) as home:
        return judge(name, all_inputs()[name], Shop(Path(home), host))
