"""Messages to Slack: through a bot, with threads and edits, or through an incoming webhook.

A request without a known outcome, because Slack did not answer or answered with a server error, may have been
delivered. A bot searches for the message by its key in the metadata of the channel before it sends the message again.
A webhook cannot search, so a repeated message states that it may be a repetition.
"""

from __future__ import annotations

import logging
import time
import unicodedata
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from include.errors import ChurnflowError
from include.monitoring.alerts import Message

# httpx logs the address of each request, and the address of a webhook is a secret.
logging.getLogger("httpx").setLevel(logging.WARNING)

_API = "https://slack.com/api"
_EVENT = "churnflow_message"
_TIMEOUT_SECONDS = 10
_ATTEMPTS = 4
_RATE_LIMIT_RETRIES = 2
_LONGEST_PAUSE_SECONDS = 30
"""A longer Retry-After ends the attempts; the message is sent later."""
_SEARCHED_PAGES = 5
_PAGE = 200

_HEADER = 150
_LINE = 500
_SECTION = 3000
"""Slack's limits of characters; because of the limit of a line, a long name does not hide the other lines."""
_REPEATED = "Slack did not confirm an earlier attempt, so this message may be a repetition."
_OUTAGES = {"fatal_error", "internal_error", "rate_limited", "ratelimited", "request_timeout", "service_unavailable"}
_GONE = {
    "cant_update_message",
    "channel_not_found",
    "edit_window_closed",
    "is_archived",
    "message_not_found",
    "not_in_channel",
    "thread_not_found",
}
"""The errors of a thread that cannot be continued, for example because its channel was replaced."""


class SlackUnavailableError(ChurnflowError):
    """Slack did not answer, answered with a server error, or limited the rate for too long."""

    can_retry = True


class SlackRefusedError(ChurnflowError):
    """Slack refused a message."""


@dataclass(frozen=True)
class Delivered:
    """The place of a delivered message.

    Attributes:
        channel: The id of the channel; ``webhook`` or ``log`` without a bot.
        ts: Slack's id of the message in the channel; empty without a bot.
    """

    channel: str
    ts: str = ""


@dataclass(frozen=True)
class SlackBot:
    """A bot, which needs the scopes ``chat:write`` and ``channels:history`` (private channels: ``groups:history``).

    Attributes:
        token: The token of the bot.
        channel: The id of the channel, such as ``C024BE91L``. The bot must be a member.
        api: The address of Slack's API.
        backoff_seconds: The pause before the second attempt; it doubles.
    """

    token: str = field(repr=False)
    channel: str
    api: str = _API
    backoff_seconds: float = 0.5

    def deliver(self, key: str, message: Message, thread: Delivered | None, *, uncertain: bool) -> Delivered:
        """Send a message, unless an earlier attempt has delivered it.

        Args:
            key: The unique key of the message.
            message: The message.
            thread: The first message of the thread; None for a message outside a thread.
            uncertain: Whether an earlier attempt may have delivered the message.

        Raises:
            SlackUnavailableError: Slack was not available in any attempt; the message may have been delivered.
            SlackRefusedError: Slack refused the message.
        """
        for attempt in _attempts(self.backoff_seconds):
            with attempt:
                found = self._find(key, thread) if uncertain or attempt.retry_state.attempt_number > 1 else None
                return found or self._post(key, message, thread)
        raise AssertionError("tenacity raises the last error")

    def edit(self, key: str, place: Delivered, message: Message) -> None:
        """Replace the content of a delivered message. A message that has been deleted stays deleted.

        Args:
            key: The unique key of the message.
            place: The place of the message.
            message: The new content.

        Raises:
            SlackUnavailableError: Slack was not available in any attempt.
            SlackRefusedError: Slack refused the change.
        """
        body = {"channel": place.channel, "ts": place.ts, **_content(message), "metadata": _metadata(key)}
        _attempts(self.backoff_seconds)(self._call, "chat.update", json=body, ignored=_GONE)

    def _post(self, key: str, message: Message, thread: Delivered | None) -> Delivered:
        body = {"channel": self.channel, **_content(message), "metadata": _metadata(key)}
        if thread:
            reply = {**body, "channel": thread.channel, "thread_ts": thread.ts}
            answer = self._call("chat.postMessage", json=reply, ignored=_GONE)
            if answer["ok"]:
                return Delivered(answer["channel"], answer["ts"])
        answer = self._call("chat.postMessage", json=body)
        return Delivered(answer["channel"], answer["ts"])

    def _find(self, key: str, thread: Delivered | None) -> Delivered | None:
        """Return the place of the message with a key, among the latest messages of the channel or of the thread."""
        places = [(self.channel, {"channel": self.channel}, "conversations.history", set[str]())]
        if thread:
            replies = {"channel": thread.channel, "ts": thread.ts}
            places.insert(0, (thread.channel, replies, "conversations.replies", _GONE))
        for channel, arguments, method, ignored in places:
            for page in islice(self._pages(method, arguments, ignored), _SEARCHED_PAGES):
                for found in page:
                    if ((found.get("metadata") or {}).get("event_payload") or {}).get("key") == key:
                        return Delivered(channel, found["ts"])
        return None

    def _pages(self, method: str, arguments: dict[str, Any], ignored: set[str]) -> Any:
        cursor: str | None = ""
        while cursor is not None:
            form = {**arguments, "cursor": cursor, "limit": str(_PAGE), "include_all_metadata": "true"}
            answer = self._call(method, data=form, ignored=ignored)
            yield answer.get("messages", [])
            cursor = (answer.get("response_metadata") or {}).get("next_cursor") or None

    def _call(self, method: str, *, ignored: set[str] | None = None, **body: Any) -> dict[str, Any]:
        """Call a method and return Slack's answer; an error code in ``ignored`` is returned."""
        response = _request(f"{self.api.rstrip('/')}/{method}", method, {"Authorization": f"Bearer {self.token}"}, body)
        try:
            answer: dict[str, Any] = response.json()
            code = None if answer["ok"] else str(answer["error"])
        except (ValueError, KeyError, TypeError) as error:
            raise _unavailable(method, "an answer that is not Slack's") from error
        if code in _OUTAGES:
            raise _unavailable(method, code)
        if code is not None and code not in (ignored or set()):
            raise _refused(method, code)
        return answer


@dataclass(frozen=True)
class SlackWebhook:
    """An incoming webhook, which can only send.

    Attributes:
        url: The address, which is a secret.
        backoff_seconds: The pause before the second attempt; it doubles.
    """

    url: str = field(repr=False)
    backoff_seconds: float = 0.5

    def deliver(self, key: str, message: Message, thread: Delivered | None, *, uncertain: bool) -> Delivered:
        """Send a message. A repeated attempt states in its text that it may be a repetition.

        Args:
            key: Unused.
            message: The message.
            thread: Unused.
            uncertain: Whether an earlier attempt may have delivered the message.

        Raises:
            SlackUnavailableError: Slack was not available in any attempt; the message may have been delivered.
            SlackRefusedError: Slack refused the message.
        """
        for attempt in _attempts(self.backoff_seconds):
            with attempt:
                remarks = (_REPEATED,) if uncertain or attempt.retry_state.attempt_number > 1 else ()
                sent = Message(message.title, (*remarks, *message.lines), message.links)
                _request(self.url, "the webhook", {}, {"json": _content(sent)})
        return Delivered("webhook")

    def edit(self, key: str, place: Delivered, message: Message) -> None:
        """Do nothing: a webhook cannot edit."""


def _attempts(backoff_seconds: float) -> Retrying:
    return Retrying(
        retry=retry_if_exception_type(SlackUnavailableError),
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_exponential(multiplier=backoff_seconds),
        reraise=True,
    )


def _request(url: str, where: str, headers: dict[str, str], body: dict[str, Any]) -> httpx.Response:
    """Send a request; repeat it after status 429, with which Slack answers requests that it has not processed."""
    for number in range(_RATE_LIMIT_RETRIES + 1):
        try:
            response = httpx.post(url, headers=headers, timeout=_TIMEOUT_SECONDS, **body)
        # The texts of these errors may contain the address or the token.
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError, UnicodeError) as error:
            raise _refused(where, f"its address or token is not valid ({type(error).__name__})") from None
        except httpx.HTTPError as error:
            raise _unavailable(where, type(error).__name__) from None
        if response.status_code != httpx.codes.TOO_MANY_REQUESTS:
            break
        pause = response.headers.get("Retry-After", "1")
        short = pause.isdecimal() and len(pause) < 4 and int(pause) <= _LONGEST_PAUSE_SECONDS
        if number == _RATE_LIMIT_RETRIES or not short:
            raise _unavailable(where, f"status 429, Retry-After {pause[:50]}")
        time.sleep(int(pause))
    if response.is_server_error:
        raise _unavailable(where, f"status {response.status_code}")
    if not response.is_success:
        raise _refused(where, f"status {response.status_code} {response.text[:50]!r}")
    return response


def _unavailable(where: str, what: str) -> SlackUnavailableError:
    return SlackUnavailableError(
        f"Slack is not available: {what}.", where=where, remedy="No action is needed: the next run sends the message."
    )


def _refused(where: str, what: str) -> SlackRefusedError:
    return SlackRefusedError(
        f"Slack refused a message: {what}.",
        where=where,
        remedy="Check the Airflow connection of CHURN_ALERTS__SLACK_CONN_ID, CHURN_ALERTS__SLACK_CHANNEL and the "
        "scopes of the bot; then run churn_maintenance.",
    )


def _metadata(key: str) -> dict[str, Any]:
    return {"event_type": _EVENT, "event_payload": {"key": key}}


def _content(message: Message) -> dict[str, Any]:
    """Return the text for notifications and the blocks.

    Names from data are only in texts that Slack does not interpret as markup.
    """
    blocks: list[dict[str, Any]] = [{"type": "header", "text": _plain(_cut(message.title, _HEADER))}]
    if message.lines:
        details = "\n".join(f"• {_cut(line, _LINE)}" for line in message.lines)
        blocks.append({"type": "section", "text": _plain(details if len(details) <= _SECTION else _end(details))})
    if message.links:
        links = " · ".join(_link(name, address) for name, address in message.links)
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": links}]})
    return {"text": _cut(message.text, _SECTION).replace("&", "&amp;"), "mrkdwn": False, "blocks": blocks}


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}


def _end(details: str) -> str:
    return details[: _SECTION - 1].rpartition("\n")[0] + "\n…"


def _cut(text: str, limit: int) -> str:
    """Return a text as one line without control characters.

    Angle brackets, with which Slack marks mentions and links, are replaced by single quotation marks of the same shape.
    """
    line = " ".join(text.replace("<", "\u2039").replace(">", "\u203a").split())
    visible = "".join(character for character in line if not unicodedata.category(character).startswith("C"))
    return visible if len(visible) <= limit else visible[: limit - 1] + "…"


def _link(name: str, address: str) -> str:
    safe = _cut(address, _LINE).replace("&", "&amp;").replace("|", "%7C").replace(" ", "%20")
    return f"<{safe}|{name}>" if address.startswith(("http://", "https://")) else f"{name}: {safe}"
