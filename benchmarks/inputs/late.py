"""Deliveries that arrive late, or that are not complete yet."""
# ruff: noqa: E501 - an input is one line

from __future__ import annotations

import datetime as dt
import os
import time
from typing import Any

from benchmarks.inputs.library import Input, Outcome, Refused, Right, csv_text
from benchmarks.inputs.shop import CUSTOMERS, DAY, ORDER, Shop

_HEADER = CUSTOMERS.splitlines()[0]


def _leaver(name: str, reported: int, expected: str, lateness: int = 7) -> Input:
    """Return the input of a customer who leaves a day after the first day.

    Args:
        name: The input's name.
        reported: The number of days after which the change is delivered.
        expected: The label of the customer on the first day.
        lateness: The project's ``lateness_days``.
    """

    def deliver(shop: Shop) -> object:
        shop.yaml["project.yaml"]["lateness_days"] = lateness
        days = [DAY + dt.timedelta(days=ahead) for ahead in range(9)]
        left = f"{_HEADER}\n2,left,pro,2025-06-01,2026-03-02 09:00:00\n"
        shop.write(f"customers/{days[reported]}.csv", left)
        for day in days:
            shop.write(f"orders/{day}.csv", ",".join(ORDER) + "\n")
        shop.ingest(days[0], days[3])
        shop.ingest(days[4], days[-1])
        return shop.labels().get(f"{DAY} 2")

    return Input(name, deliver, Right(expected))


def _complete(name: str, files: dict[str, Any], expected: Outcome, age: float = 0, marker: str | None = None) -> Input:
    """Return the input of a file of orders.

    Args:
        name: The input's name.
        files: The settings of the source's ``files``.
        expected: The outcome.
        age: The age of the file in seconds.
        marker: The path of a done marker that exists.
    """

    def deliver(shop: Shop) -> object:
        shop.orders["files"].update(files)
        path = shop.write(f"orders/{DAY}.csv", csv_text([ORDER]))
        os.utime(path, (time.time() - age,) * 2)
        if marker:
            shop.write(marker, "")
        shop.ingest_orders()
        return shop.silver("order_id")

    return Input(name, deliver, expected)


_DONE, _AGE = {"done_marker": "orders/{day}.done"}, {"min_age_seconds": 600}

INPUTS = [
    _leaver("leaver in time", 1, "1"),
    _leaver("leaver four days late", 5, "1"),
    _leaver("leaver later than the lateness", 8, "0", lateness=2),
    _complete("no done marker", _DONE, Refused(f"orders/{DAY}.done", "not complete")),
    _complete("done marker of another day", _DONE, Refused(f"orders/{DAY}.done", "not complete"), marker="orders/2026-03-02.done"),
    _complete("done marker", _DONE, Right(["a"]), marker=f"orders/{DAY}.done"),
    _complete("young file", _AGE, Refused(f"orders/{DAY}.csv", "600 seconds")),
    _complete("old file", _AGE, Right(["a"]), age=601),
]  # fmt: skip
