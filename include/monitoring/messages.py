"""The delivery of messages: each is stored before it is sent, and marked as sent afterwards.

A process can be killed between these steps. The next process reads the state, and continues. Messages are sent in the
order of their days, one process at a time.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from include.lake import open_lake
from include.logs import get_logger
from include.monitoring.alerts import Addresses, Message, acknowledgement_message, current_message, incident_message
from include.monitoring.incidents import Incident, lock, read_acknowledgements, read_incident_days
from include.monitoring.message_store import MessageStore, StoredMessage
from include.monitoring.slack import Delivered, SlackRefusedError, SlackUnavailableError
from include.settings import Settings

log = get_logger(__name__)


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
class SendReport:
    """The number of messages that a call has sent, and the number of those that still wait."""

    sent: int
    waiting: int


def send_messages(settings: Settings, destination: Destination, addresses: Addresses) -> SendReport:
    """Send all messages that have not been sent, in order.

    They are about incidents, acknowledgements, failed runs and late lists. If the destination is not available, the
    remaining messages wait for the next call. The other messages are sent even if one of them is refused.

    Args:
        settings: The lake and the reports' folder.
        destination: The destination.
        addresses: The addresses of the links.

    Raises:
        SlackRefusedError: Slack refused a message, for example because the token is not valid.
    """
    sent, refused = 0, None
    with lock(settings, "sending"):
        outbox = _Outbox(settings, destination, addresses)
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
    settings: Settings,
    destination: Callable[[], Destination],
    addresses: Addresses,
    day: dt.date,
    key: str,
    message: Message,
) -> None:
    """Store and send the message about a failed run.

    If the lake is not available, for example because the disk is full, the message is sent without being stored.

    Args:
        settings: The lake and the reports' folder.
        destination: Returns the destination. It is called after the message has been stored, since it may fail.
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
        send_messages(settings, destination(), addresses)
    except SlackRefusedError:
        raise
    except Exception:  # any error of the lake
        log.exception("The message cannot be stored: %s", message.text)
        delivered = destination().deliver(key, message, None, uncertain=True)
        with suppress(Exception):  # a stored message would be sent again
            store = MessageStore(settings)
            for item in store.read([day]):
                if item.key == key:
                    store.update(replace(item, state="sent", delivered=delivered))


class _Outbox:
    """The messages that follow from the incidents and acknowledgements, and the stored messages."""

    def __init__(self, settings: Settings, destination: Destination, addresses: Addresses) -> None:
        lake = open_lake(settings)
        self._store = MessageStore(settings)
        self._destination = destination
        self._addresses = addresses
        self._days = read_incident_days(lake)
        self._acknowledgements = read_acknowledgements(lake)
        self._newest = {incident.incident_id: incident for incident in self._days}
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
        log.warning("Message: %s", item.message.text)
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
