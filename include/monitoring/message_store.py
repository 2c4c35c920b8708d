"""The table of messages: their content, their state and, after they have been sent, their place."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Literal

import pyarrow as pa

from include.lake import open_lake
from include.lake.table_names import MESSAGES_TABLE
from include.monitoring.alerts import Message
from include.monitoring.incidents import lock
from include.monitoring.slack import Delivered
from include.settings import Settings

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
        delivered: The place; None until the message is sent.
    """

    day: dt.date
    number: int
    key: str
    incident_id: str | None
    message: Message
    state: State = "waiting"
    delivered: Delivered | None = None


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
                "content": json.dumps(asdict(item.message)),
                "channel": item.delivered.channel if item.delivered else None,
                "ts": item.delivered.ts if item.delivered else None,
            }
            for item in messages
        ]
        self._table.replace([day], pa.Table.from_pylist(rows, _SCHEMA))
