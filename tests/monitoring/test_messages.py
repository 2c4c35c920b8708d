"""Messages: sent once and in order, also after kills and outages; safe with hostile names."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.incidents import write_day
from benchmarks.slack_receiver import CHANNEL, TOKEN, Fault, SlackReceiver, key_of, receiving, text_of
from include.lake import open_lake
from include.monitoring.alerts import Addresses, Message, run_failure
from include.monitoring.incidents import acknowledge, record_incidents
from include.monitoring.message_store import MessageStore
from include.monitoring.messages import Destination, LogOnly, SendReport, send_messages, send_run_failure
from include.monitoring.slack import Delivered, SlackBot, SlackRefusedError, SlackUnavailableError, SlackWebhook
from include.projects import load_project
from include.settings import Settings

DAYS = [dt.date(2018, 1, 1) + dt.timedelta(days=offset) for offset in range(14)]
ADDRESSES = Addresses("https://airflow.example.com", "https://docs.example.com/runbook/")
PROJECT = load_project("grocery")


@pytest.fixture
def deployment(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture
def slack() -> Iterator[SlackReceiver]:
    with receiving() as receiver:
        yield receiver


class Killed(BaseException):
    """The end of a process at some moment."""


class KilledAfterDelivery(SlackBot):
    """A bot whose process is killed after Slack's answer, before the state is stored."""

    def deliver(self, *args: Any, **kwargs: Any) -> Delivered:
        super().deliver(*args, **kwargs)
        raise Killed


class KilledBeforeEdit(SlackBot):
    """A bot whose process is killed after its reply, before the first message is edited."""

    def edit(self, *_: Any) -> None:
        raise Killed


def bot(slack: SlackReceiver, kind: type[SlackBot] = SlackBot) -> SlackBot:
    return kind(TOKEN, CHANNEL, slack.api, backoff_seconds=0)


def webhook(slack: SlackReceiver) -> SlackWebhook:
    return SlackWebhook(f"{slack.webhook}/T/B/X", backoff_seconds=0)


def run_day(deployment: Settings, day: int, severity: float, destination: Destination) -> SendReport:
    write_day(deployment, DAYS[day], severity)
    record_incidents(PROJECT, deployment, DAYS[day])
    return send_messages(deployment, destination, ADDRESSES)


def titles(slack: SlackReceiver) -> list[str]:
    return [message["blocks"][0]["text"]["text"] for message in slack.messages]


def test_an_incident_is_one_thread_whose_first_message_is_current(deployment: Settings, slack: SlackReceiver) -> None:
    sent = [run_day(deployment, day, severity, bot(slack)).sent for day, severity in enumerate([0.1, 1.8, 1.9, 3.0])]
    assert sent == [0, 1, 0, 1]
    acknowledge(deployment, "ann", "I look at the source.")
    assert run_day(deployment, 5, 0.2, bot(slack)).sent == 2
    assert run_day(deployment, 5, 0.2, bot(slack)).sent == 0
    assert titles(slack) == [
        "Drift of grocery since 2018-01-02",
        "Drift of grocery since 2018-01-02 got worse on 2018-01-04",
        "Drift of grocery since 2018-01-02: acknowledged",
        "Drift of grocery since 2018-01-02 ended on 2018-01-06",
    ]
    first, *replies = slack.messages
    assert "thread_ts" not in first
    assert {reply["thread_ts"] for reply in replies} == {first["ts"]}
    assert "ended on 2018-01-06. Severity 0.2" in slack.texts[0]
    assert "Acknowledged by ann: I look at the source." in slack.texts[0]
    assert "<https://airflow.example.com/churn/view/drift/2018-01-06/index.html|Report>" in slack.texts[0]
    assert "<https://docs.example.com/runbook/#drift|Runbook>" in slack.texts[0]


@pytest.mark.parametrize("kind", [KilledAfterDelivery, KilledBeforeEdit])
def test_killed_process_neither_loses_nor_repeats_a_message(
    deployment: Settings, slack: SlackReceiver, kind: type[SlackBot]
) -> None:
    for day, severity in enumerate([1.8, 0.2]):
        with suppress(Killed):
            run_day(deployment, day, severity, bot(slack, kind))
        run_day(deployment, day, severity, bot(slack))
    keys = [key_of(message) for message in slack.messages]
    assert keys == ["drift-2018-01-01/opened", "drift-2018-01-01/2018-01-02/resolved"]
    assert "ended on 2018-01-02" in slack.texts[0]


def test_bot_retries_without_a_repetition(deployment: Settings, slack: SlackReceiver) -> None:
    names = [f"Run {number} failed" for number in range(4)]  # more than a page of the search
    MessageStore(deployment).add(DAYS[0], {name: (None, Message(name)) for name in names})
    faults: list[Fault] = ["429", "429", "none", "500", "none", "none", "processed, then 500", "500"]
    slack.faults = iter(faults)
    assert send_messages(deployment, bot(slack), ADDRESSES) == SendReport(sent=4, waiting=0)
    assert titles(slack) == names
    assert list(slack.faults) == []


def test_messages_wait_during_an_outage_and_are_sent_later_in_order(deployment: Settings, slack: SlackReceiver) -> None:
    slack.faults = iter(["500"] * 1000)
    assert run_day(deployment, 0, 1.8, bot(slack)) == SendReport(sent=0, waiting=1)
    assert run_day(deployment, 1, 3.0, bot(slack)) == SendReport(sent=0, waiting=2)
    failed = Message("churn_train failed")
    send_run_failure(deployment, lambda: bot(slack), ADDRESSES, DAYS[1], "churn_train/r/0", failed)
    assert slack.messages == []
    slack.faults = iter([])
    assert send_messages(deployment, bot(slack), ADDRESSES) == SendReport(sent=3, waiting=0)
    assert titles(slack) == [
        "Drift of grocery since 2018-01-01",
        "Drift of grocery since 2018-01-01 got worse on 2018-01-02",
        "churn_train failed",
    ]
    assert send_messages(deployment, bot(slack), ADDRESSES) == SendReport(sent=0, waiting=0)


def test_webhook_sends_short_messages_and_marks_a_possible_repetition(
    deployment: Settings, slack: SlackReceiver
) -> None:
    slack.faults = iter(["429", "none", "processed, then 500"])
    for day, severity in enumerate([1.8, 3.0]):
        run_day(deployment, day, severity, webhook(slack))
    assert len(slack.messages) == 3
    marked = ["may be a repetition" in text for text in slack.texts]
    assert marked == [False, False, True], "429 means that Slack did not process the request"
    assert len(slack.texts[1]) < len(slack.texts[0])


def test_refused_message_is_an_error_and_does_not_stop_the_others(deployment: Settings, slack: SlackReceiver) -> None:
    class RefusesTheFirst(SlackBot):
        def deliver(self, key: str, *args: Any, **kwargs: Any) -> Delivered:
            channel = "C9" if key == "first" else CHANNEL
            return SlackBot(TOKEN, channel, slack.api, 0).deliver(key, *args, **kwargs)

    messages = {key: (None, Message(f"The {key} message")) for key in ("first", "second")}
    MessageStore(deployment).add(DAYS[0], messages)
    with pytest.raises(SlackRefusedError, match="channel_not_found"):
        send_messages(deployment, bot(slack, RefusesTheFirst), ADDRESSES)
    assert titles(slack) == ["The second message"]
    assert send_messages(deployment, bot(slack), ADDRESSES) == SendReport(sent=1, waiting=0)


def test_message_of_a_failed_run_is_sent_once_per_failure(deployment: Settings, slack: SlackReceiver) -> None:
    errors = {"build_silver_and_gold": "The file is empty.", "tune_0": None}
    message = run_failure(
        "churn_ingest", "manual__1", errors, "task_failure", "https://airflow.example.com/r", ADDRESSES
    )
    for attempt in (0, 0, 1):
        key = f"churn_ingest/manual__1/{attempt}"
        send_run_failure(deployment, lambda: bot(slack), ADDRESSES, DAYS[0], key, message)
    assert titles(slack) == ["churn_ingest failed: build_silver_and_gold, tune_0"] * 2
    assert "tune_0: The process of the task was killed" in slack.texts[0]
    assert "#failed-run|Runbook>" in slack.texts[0]
    assert "Reason: timed_out" in run_failure("churn_score", "r", {}, "timed_out", "", ADDRESSES).text


def test_message_of_a_failed_run_is_sent_without_the_lake(tmp_path: Path, slack: SlackReceiver) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    settings, failed = Settings(home=tmp_path, lake_uri=str(blocked)), Message("churn_train failed")
    send_run_failure(settings, lambda: bot(slack), ADDRESSES, DAYS[0], "k", failed)
    assert titles(slack) == ["churn_train failed"]


def test_message_that_was_sent_despite_a_damaged_table_is_not_repeated(
    deployment: Settings, slack: SlackReceiver
) -> None:
    log = Path(deployment.lake_uri) / deployment.project / "monitoring" / "incidents" / "_delta_log"
    log.mkdir(parents=True)
    (log / "00000000000000000000.json").write_text("damaged")
    failed = Message("churn_train failed")
    send_run_failure(deployment, lambda: webhook(slack), ADDRESSES, DAYS[0], "k", failed)
    shutil.rmtree(log.parent)
    assert send_messages(deployment, webhook(slack), ADDRESSES) == SendReport(sent=0, waiting=0)
    assert titles(slack) == ["churn_train failed"]


def test_message_waits_for_a_destination_that_is_not_configured(deployment: Settings, slack: SlackReceiver) -> None:
    def no_channel() -> Destination:
        raise SlackRefusedError("The Slack bot has no channel.", where="CHANNEL", remedy="Set it.")

    with pytest.raises(SlackRefusedError):
        send_run_failure(deployment, no_channel, ADDRESSES, DAYS[0], "k", Message("churn_train failed"))
    assert send_messages(deployment, bot(slack), ADDRESSES) == SendReport(sent=1, waiting=0)


def test_message_without_a_connection_is_in_the_log(deployment: Settings, caplog: pytest.LogCaptureFixture) -> None:
    assert run_day(deployment, 0, 1.8, LogOnly()) == SendReport(sent=1, waiting=0)
    (line,) = [record.getMessage() for record in caplog.records if "Message: " in record.getMessage()]
    assert "Drift of grocery since 2018-01-01 | " in line
    assert "\n" not in line


HOSTILE = [
    "<!channel> <@U1> <https://evil.example.com|Report>",
    "`code` *bold* _it_ ~no~",
    "line\nbreak\r\n\x00\x1b[31m",
    "\u202eright to left\u200b",
    "x" * 10_000,
    "&lt;!channel&gt;",
]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_stay_text_within_the_limits_of_slack(slack: SlackReceiver, name: str) -> None:
    message = Message(
        f"{name} failed", (f"{name}: error", *["a line of a long message"] * 400), (("Log", f"https://a/{name}"),)
    )
    bot(slack).deliver("key", message, None, uncertain=False)
    (sent,) = slack.messages
    header, section, links = sent["blocks"]
    assert header["text"]["type"] == section["text"]["type"] == "plain_text"
    assert len(header["text"]["text"]) <= 150
    assert len(section["text"]["text"]) <= 3000
    assert "• a line of a long message" in section["text"]["text"]
    plain = " ".join((sent["text"], header["text"]["text"], section["text"]["text"]))
    assert not set("<>\r\x00\x1b\u202e\u200b") & set(plain)
    assert "&lt;" not in sent["text"]
    link = links["elements"][0]["text"]
    assert (link.count("<"), link.count("|"), link.count(">")) == (1, 1, 1)
    assert link.endswith("|Log>")
    assert text_of(sent)


@pytest.mark.parametrize("make", [bot, webhook])
def test_slack_that_does_not_answer_is_not_available(make: Any) -> None:
    with receiving() as gone:
        destination = make(gone)
    with pytest.raises(SlackUnavailableError) as error:
        destination.deliver("key", Message("churn_train failed"), None, uncertain=False)
    assert "T/B/X" not in str(error.value)
    assert TOKEN not in str(error.value)
    assert TOKEN not in repr(destination)


INVALID = {
    "no scheme": lambda _: SlackWebhook("hooks.slack.com/services/T/B/SECRET", 0),
    "no port": lambda _: SlackWebhook("https://hooks.slack.com:x/services/T/B/SECRET", 0),
    "line break": lambda slack: SlackBot("xoxb-SECRET\n", CHANNEL, slack.api, 0),
    "not ASCII": lambda slack: SlackBot("xoxb-SECRET…", CHANNEL, slack.api, 0),
}


@pytest.mark.parametrize("make", INVALID.values(), ids=INVALID)
def test_invalid_address_or_token_is_refused_and_not_shown(slack: SlackReceiver, make: Any) -> None:
    with pytest.raises(SlackRefusedError, match="CHURN_ALERTS__SLACK_CONN_ID") as error:
        make(slack).deliver("key", Message("churn_train failed"), None, uncertain=False)
    assert "SECRET" not in str(error.value)


def test_thread_in_a_former_channel_is_replaced_by_a_message_of_its_own(
    deployment: Settings, slack: SlackReceiver
) -> None:
    run_day(deployment, 0, 1.8, bot(slack))
    store = MessageStore(deployment)
    (first,) = store.read()
    store.update(replace(first, delivered=Delivered("C9", "1.0")))  # the stand-in does not know this channel
    assert run_day(deployment, 1, 3.0, bot(slack)) == SendReport(sent=1, waiting=0)
    assert "thread_ts" not in slack.messages[-1]


def test_deleted_thread_is_replaced_by_a_message_of_its_own(deployment: Settings, slack: SlackReceiver) -> None:
    run_day(deployment, 0, 1.8, bot(slack))
    slack.messages.clear()
    run_day(deployment, 1, 3.0, bot(slack))
    (reply,) = slack.messages
    assert key_of(reply) == "drift-2018-01-01/2018-01-02/worse"
    assert open_lake(deployment).table("monitoring/messages").count() == 2
