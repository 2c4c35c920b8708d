"""The delivery of messages: each is stored before it is sent, and marked as sent afterwards.

A process can be killed between these steps. The next process finds the state, and continues. Messages are sent in the
order of their days, one process at a time.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import pyarrow as pa
from filelock import FileLock

from include.lake import open_lake
from include.lake.table_names import MESSAGES_TABLE
from include.logs import get_logger
from include.monitoring.alerts import (
    Addresses,
    Message,
    acknowledgement_message,
    current_message,
    incident_message,
)
from include.monitoring.incidents import (
    Acknowledgement,
    Incident,
    read_acknowledgements,
    read_incident_days,
)
from include.monitoring.slack import Delivered, SlackRefusedError, SlackUnavailableError
from include.settings import Settings

log = get_logger(__name__)

State = Literal["waiting", "sending", "sent"]

_SCHEMA = pa.schema(
    [
        ("dt", pa.date32()),
        ("number", pa.int32()),
        ("key", pa.string()),
        ("incident_id", pa.string()),
        ("content", pa.string()),
        ("state", pa.string()),
        ("channel", pa.string()),
        ("ts", pa.string()),
    ]
)


class Destination(Protocol):
    """A receiver of messages; see ``SlackBot`` and ``SlackWebhook``."""

    def deliver(self, key: str, message: Message, thread: Delivered | None, *, uncertain: bool) -> Delivered:
        """Send a message."""

    def edit(self, key: str, place: Delivered, message: Message) -> None:
        """Replace the content of a delivered message."""


class LogOnly:
    """The destination without a Slack connection: every message is in the log before it is delivered."""

    def deliver(self, key: str, message: Message, thread: Delivered | None, *, uncertain: bool) -> Delivered:
        """Do nothing."""
        return Delivered("log")

    def edit(self, key: str, place: Delivered, message: Message) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class StoredMessage:
    """A message with its state.

    Attributes:
        day: The day of the incident's change, or the day on which a failed run was due.
        number: The position among the messages of the day, from 0.
        key: The unique key.
        incident_id: The incident; None for a failed run.
        message: The content.
        state: ``waiting`` before the first attempt, ``sending`` until an attempt has succeeded, then ``sent``.
        delivered: The place; None until it is sent.
    """

    day: dt.date
    number: int
    key: str
    incident_id: str | None
    message: Message
    state: State = "waiting"
    delivered: Delivered | None = None


@dataclass(frozen=True)
class SendReport:
    """The numbers of messages that a call sent, and that still wait."""

    sent: int
    waiting: int


class MessageStore:
    """The table ``monitoring/messages``. Writers of one machine wait for each other.

    Args:
        settings: The lake and the reports' folder.
    """

    def __init__(self, settings: Settings) -> None:
        self._table = open_lake(settings).table(MESSAGES_TABLE)
        self._lock = lock(settings, "messages")

    def read(self, days: Iterable[dt.date] | None = None) -> list[StoredMessage]:
        """Return the messages of some days, by default of all days, in order."""
        if not self._table.exists():
            return []
        rows = self._table.read(self._table.days() if days is None else list(days)).to_pylist()
        found = [
            StoredMessage(
                day=row["dt"],
                number=row["number"],
                key=row["key"],
                incident_id=row["incident_id"],
                message=Message.from_dict(json.loads(row["content"])),
                state=row["state"],
                delivered=Delivered(row["channel"], row["ts"]) if row["channel"] else None,
            )
            for row in rows
        ]
        return sorted(found, key=lambda item: (item.day, item.number))

    def add(self, day: dt.date, messages: Mapping[str, tuple[str | None, Message]]) -> None:
        """Store messages of one day, unless messages with their keys are stored.

        Args:
            day: The day.
            messages: The incident, or None for a failed run, and the content, by the unique key.
        """
        with self._lock:
            stored = self.read([day])
            keys = {item.key for item in stored}
            new = [(key, *content) for key, content in messages.items() if key not in keys]
            if new:
                added = [StoredMessage(day, number, *fields) for number, fields in enumerate(new, len(stored))]
                self._write(day, [*stored, *added])

    def update(self, changed: StoredMessage) -> StoredMessage:
        """Replace the stored message with the same key, and return it."""
        with self._lock:
            stored = self.read([changed.day])
            self._write(changed.day, [changed if item.key == changed.key else item for item in stored])
        return changed

    def _write(self, day: dt.date, messages: list[StoredMessage]) -> None:
        rows = [
            {
                "dt": item.day,
                **asdict(item),
                "content": json.dumps(item.message.as_dict()),
                "channel": item.delivered.channel if item.delivered else None,
                "ts": item.delivered.ts if item.delivered else None,
            }
            for item in messages
        ]
        self._table.replace([day], pa.Table.from_pylist(rows, _SCHEMA))


def send_messages(settings: Settings, destination: Destination, addresses: Addresses) -> SendReport:
    """Send the messages about incidents and acknowledgements, and stored messages, that have not been sent, in order.

    If the destination is not available, the remaining messages wait for the next call. A refused message does not keep
    the others from being sent.

    Args:
        settings: The lake and the reports' folder.
        destination: The destination.
        addresses: The addresses of the links.

    Raises:
        SlackRefusedError: Slack refused a message, for example because the token is not valid.
    """
    lake, store = open_lake(settings), MessageStore(settings)
    sent, refused = 0, None
    with lock(settings, "sending"):
        outbox = _Outbox(store, destination, addresses, read_incident_days(lake), read_acknowledgements(lake))
        waiting = outbox.collect()
        for item in waiting:
            try:
                outbox.send(item)
                sent += 1
            except SlackUnavailableError as error:
                log.warning("messages wait", extra={"waiting": len(waiting) - sent, "reason": str(error)})
                break
            except SlackRefusedError as error:
                refused = error
    if refused:
        raise refused
    return SendReport(sent, len(waiting) - sent)


def send_run_failure(
    settings: Settings, destination: Destination, addresses: Addresses, day: dt.date, key: str, message: Message
) -> None:
    """Store and send the message about a failed run.

    If the lake is not available, for example because the disk is full, the message is sent without being stored.

    Args:
        settings: The lake and the reports' folder.
        destination: The destination.
        addresses: The addresses of the links of other waiting messages.
        day: The day on which the run was due.
        key: The unique key of the failure.
        message: The message.

    Raises:
        SlackUnavailableError: Neither the lake nor Slack is available.
        SlackRefusedError: Slack refused a message.
    """
    try:
        MessageStore(settings).add(day, {key: (None, message)})
        send_messages(settings, destination, addresses)
    except SlackRefusedError:
        raise
    except Exception:  # any error of the lake
        log.exception("The message cannot be stored: %s", message.text)
        destination.deliver(key, message, None, uncertain=True)


def lock(settings: Settings, name: str) -> FileLock:
    """Return a lock between the processes that share the reports' folder.

    Args:
        settings: The reports' folder.
        name: The name of the lock.
    """
    folder: Path = settings.reports_dir
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f".{name}.lock")


class _Outbox:
    """The messages that follow from the incidents and acknowledgements, and the stored messages."""

    def __init__(
        self,
        store: MessageStore,
        destination: Destination,
        addresses: Addresses,
        days: list[Incident],
        acknowledgements: list[Acknowledgement],
    ) -> None:
        self._store = store
        self._destination = destination
        self._addresses = addresses
        self._days = days
        self._acknowledgements = acknowledgements
        self._newest = {incident.incident_id: incident for incident in days}
        self._stored: dict[str, StoredMessage] = {}

    def collect(self) -> list[StoredMessage]:
        """Store the messages that are not stored yet, and return all messages that have not been sent, in order."""
        wanted: dict[dt.date, dict[str, tuple[str | None, Message]]] = {}
        for incident in self._days:
            if incident.change != "unchanged":
                content = incident.incident_id, incident_message(incident, self._addresses)
                wanted.setdefault(incident.last_day, {})[_key(incident)] = content
        for item in self._acknowledgements:
            if item.incident_id in self._newest:
                message = acknowledgement_message(self._newest[item.incident_id], item)
                key = f"{item.incident_id}/{item.day}/acknowledged/{item.user}"
                wanted.setdefault(item.day, {})[key] = item.incident_id, message
        stored = self._store.read()
        keys = {item.key for item in stored}
        missing = [day for day, messages in wanted.items() if not messages.keys() <= keys]
        for day in missing:
            self._store.add(day, wanted[day])
        if missing:
            stored = self._store.read()
        self._stored = {item.key: item for item in stored}
        return [item for item in stored if item.state != "sent"]

    def send(self, item: StoredMessage) -> None:
        """Send a message, edit the first message of its thread, and store that it has been sent."""
        log.warning("Alert: %s", item.message.text)
        thread = self._thread(item)
        sending = self._store.update(replace(item, state="sending"))
        delivered = self._destination.deliver(item.key, item.message, thread, uncertain=item.state == "sending")
        incident = self._newest.get(item.incident_id or "")
        if thread and incident:
            stated = [found for found in self._acknowledgements if found.incident_id == item.incident_id]
            current = current_message(incident, stated[-1] if stated else None, self._addresses)
            self._destination.edit(_first_key(incident.incident_id), thread, current)
        self._stored[item.key] = self._store.update(replace(sending, state="sent", delivered=delivered))

    def _thread(self, item: StoredMessage) -> Delivered | None:
        """Return the first message of the incident; None if the message is the first, or cannot be a reply."""
        first = self._stored.get(_first_key(item.incident_id or ""))
        if first is None or first.key == item.key or first.delivered is None or not first.delivered.ts:
            return None
        return first.delivered


def _key(incident: Incident) -> str:
    if incident.change == "opened":
        return _first_key(incident.incident_id)
    return f"{incident.incident_id}/{incident.last_day}/{incident.change}"


def _first_key(incident_id: str) -> str:
    return f"{incident_id}/opened"
