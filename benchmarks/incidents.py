"""Messages about a drift of ten days while the processes that record and send them are killed.

The incidents of each day are recorded and sent by processes that are killed (SIGKILL): at a random moment, while the
local stand-in of Slack processes their request, before it answers, and after its answer. The last process of a day is
not killed. The stand-in answers some requests with 429 or 500, before or after it has processed them. The same days are
processed with a bot and with a webhook, which cannot search for a message that may have been delivered.
"""

from __future__ import annotations

import datetime as dt
import itertools
import logging
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Literal

from benchmarks.figures import print_figures, report
from benchmarks.slack_receiver import CHANNEL, TOKEN, Fault, SlackReceiver, Stage, receiving, text_of
from include.lake import open_lake
from include.monitoring.alerts import Addresses, incident_message
from include.monitoring.incidents import read_incident_days, record_incidents
from include.monitoring.messages import send_messages
from include.monitoring.results import write_result
from include.monitoring.slack import SlackBot, SlackWebhook
from include.projects import load_project
from include.settings import Settings

FIRST = dt.date(2018, 1, 1)
SEVERITIES = (0.4, 0.6, 1.8, 2.1, 2.0, 3.4, 3.6, 3.1, 3.3, 1.9, 1.7, 1.6, 0.3, 0.2)
"""The severity of each day; the drift lasts from the third to the twelfth day."""
LIMIT = 1.5
DRIFT_DAYS = sum(severity >= LIMIT for severity in SEVERITIES)
KILLS_A_DAY = 8
SEED = 20180101
_BACKOFF_SECONDS = 0.02
_LATEST_KILL_SECONDS = 1.0
_TRIES = 20
_REPEATED = "may be a repetition"

Transport = Literal["bot", "webhook"]
Start = Callable[[], ForkServerProcess]


@dataclass
class Outcome:
    """The messages that one transport delivered.

    Attributes:
        kills: The number of killed processes, by the moment of the kill.
        messages: The number of messages that the stand-in received.
        lost: The number of changes of the incident without a message.
        doubled: The number of messages beyond one per change.
        unmarked: The number of doubled messages that do not state that they may be a repetition.
        changes: The changes of the incident, in order.
    """

    kills: Counter[str] = field(default_factory=Counter)
    messages: int = 0
    lost: int = 0
    doubled: int = 0
    unmarked: int = 0
    changes: list[str] = field(default_factory=list)


def write_day(settings: Settings, day: dt.date, severity: float, **changes: Any) -> None:
    """Write the monitoring result of a day with a given severity of drift, and without matured labels.

    Args:
        settings: The reports' folder.
        day: The day.
        severity: The severity of the only judged day.
        **changes: Other values of the result.
    """
    exceeds = severity >= LIMIT
    change = {"drifted": exceeds, "counts": True, "severity": severity}
    feature = {"name": "visits_28d", "reason": "mean 4.1 → 2.9; limit 0.1"} | change
    score = {"name": "churn_probability", "reason": "mean 0.11 → 0.16; limit 0.1"} | change
    result = {
        "project": settings.project,
        "day": str(day),
        "model_version": "3",
        "drift": {
            "drifted": exceeds,
            "reason": f"{int(exceeds)} of the last 1 day exceed the limits; drift requires 1 of 1.",
            "promise": "Backtest: 0 false verdicts.",
            "days": [{"day": str(day), "severity": severity, "exceeds": exceeds}],
            "features_day": str(day),
            "drifted_features": 2 if exceeds else 0,
            "features": [feature, score],
        },
        "root_causes": ["2 features of 'visits' drifted; 40 % fewer rows than usual."],
        "sources": [],
        "performance": {"reason": "No scored day has matured.", "models": []},
        "expected": {
            "model_version": "3",
            "customers": 2000,
            "metrics": {"saving_usd_per_1000": {"value": 900.0, "low": 700.0, "high": 1100.0}},
        },
        "expected_saving_usd_per_1000": {"reference": 1500.0, "current": 900.0},
        "retrain_reason": None,
        "retrain_refusal": "A source delivers fewer rows than usual.",
        "report": f"drift/{day}/index.html",
    }
    write_result(settings.reports_dir, day, result | changes)


def run(transport: Transport, folder: Path, kills_a_day: int) -> Outcome:
    """Record and send each day with one transport, with kills.

    Args:
        transport: The transport.
        folder: A scratch folder.
        kills_a_day: The number of processes that are killed on each day.
    """
    settings, rng = Settings(home=folder), random.Random(SEED)  # noqa: S311 - moments, not secrets
    outcome = Outcome()
    with receiving(_faults(rng)) as receiver:
        address = receiver.api if transport == "bot" else f"{receiver.webhook}/T/B/X"
        for offset, severity in enumerate(SEVERITIES):
            day = FIRST + dt.timedelta(days=offset)
            write_day(settings, day, severity)
            start = partial(_start, settings.home, day, transport, address)
            moments = itertools.cycle(("random", "received", "processed", "answered"))
            for moment in itertools.islice(moments, kills_a_day):
                _run_and_kill(start, receiver, moment, rng, outcome)
            _finish(start, day)
            report(transport, day, dict(outcome.kills), len(receiver.messages))
        return _evaluate(settings, receiver, outcome)


def _evaluate(settings: Settings, receiver: SlackReceiver, outcome: Outcome) -> Outcome:
    changes = [item for item in read_incident_days(open_lake(settings)) if item.change != "unchanged"]
    outcome.changes = [f"{item.change} on {item.last_day}" for item in changes]
    outcome.messages = len(receiver.messages)
    for item in changes:
        title = incident_message(item, Addresses()).title
        found = [message for message in receiver.messages if message["blocks"][0]["text"]["text"] == title]
        outcome.lost += not found
        outcome.doubled += max(0, len(found) - 1)
        outcome.unmarked += sum(_REPEATED not in text_of(message) for message in found[1:])
    return outcome


def _faults(rng: random.Random) -> Iterator[Fault]:
    kinds: list[Fault] = ["none", "429", "500", "processed, then 500"]
    while True:
        yield rng.choices(kinds, weights=(6, 2, 1, 1))[0]


def _run_and_kill(start: Start, receiver: SlackReceiver, moment: str, rng: random.Random, outcome: Outcome) -> None:
    process = start()

    def kill(stage: Stage) -> None:
        if stage == moment:
            with suppress(ProcessLookupError):
                os.kill(process.pid or 0, signal.SIGKILL)

    receiver.on_stage = kill
    process.join(rng.uniform(0, _LATEST_KILL_SECONDS) if moment == "random" else None)
    if process.is_alive():
        os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    receiver.on_stage = lambda _: None
    outcome.kills[moment] += process.exitcode == -signal.SIGKILL


def _finish(start: Start, day: dt.date) -> None:
    """Run processes without kills until no message waits."""
    for _ in range(_TRIES):
        process = start()
        process.join()
        if not process.exitcode:
            return
    raise RuntimeError(f"messages of {day} still wait after {_TRIES} tries")


def _start(home: Path, day: dt.date, transport: Transport, address: str) -> ForkServerProcess:
    context = get_context("forkserver")
    context.set_forkserver_preload(["include.monitoring.messages", "include.monitoring.incidents"])
    process = context.Process(target=_record_and_send, args=(home, day, transport, address))
    process.start()
    return process


def _record_and_send(home: Path, day: dt.date, transport: Transport, address: str) -> None:
    """Record and send as churn_monitor does on one day; exit with 1 if messages still wait."""
    logging.disable(logging.WARNING)
    settings = Settings(home=home)
    record_incidents(load_project(settings.project), settings, day)
    destination = (
        SlackBot(TOKEN, CHANNEL, address, _BACKOFF_SECONDS)
        if transport == "bot"
        else SlackWebhook(address, _BACKOFF_SECONDS)
    )
    report = send_messages(settings, destination, Addresses())
    sys.exit(1 if report.waiting else 0)


def main() -> None:
    """Print the figures of the bot, and those of the webhook among the details."""
    started = time.perf_counter()
    outcomes: dict[str, Outcome] = {}
    transports: tuple[Transport, ...] = ("bot", "webhook")
    with tempfile.TemporaryDirectory(prefix="churnflow-incidents-") as folder:
        for transport in transports:
            outcomes[transport] = run(transport, Path(folder) / transport, KILLS_A_DAY)
    bot, webhook = outcomes["bot"], outcomes["webhook"]
    figures = {
        "drift_days": DRIFT_DAYS,
        "messages": bot.messages,
        "lost": bot.lost,
        "doubled": bot.doubled,
        "kills": bot.kills.total(),
    }
    details = {
        "changes": bot.changes,
        "kills_by_moment": dict(bot.kills),
        "webhook": {
            "messages": webhook.messages,
            "lost": webhook.lost,
            "doubled": webhook.doubled,
            "doubled_without_remark": webhook.unmarked,
            "kills": webhook.kills.total(),
        },
        "seconds": round(time.perf_counter() - started, 1),
    }
    print_figures("incidents", figures, details)


if __name__ == "__main__":
    main()
