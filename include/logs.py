"""Structured logs: one JSON object per line, without personal data and secrets.

A log call passes the name of the event, and numbers and references as ``extra``; rows are never logged.
"""

from __future__ import annotations

import json
import logging
import sys

from pythonjsonlogger.json import JsonFormatter

_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
_NAMES = {"asctime": "time", "levelname": "level", "name": "logger", "message": "event"}
_STANDARD = set(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}


class _DetailsInMessage(logging.Filter):
    """Appends ``extra`` to the message, for hosts with a formatter that omits ``extra``."""

    enabled = False

    def filter(self, record: logging.LogRecord) -> bool:
        details = {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
        if self.enabled and details:
            record.msg, record.args = f"{record.getMessage()} {json.dumps(details, default=str)}", None
        return True


_details_in_message = _DetailsInMessage()


def get_logger(name: str) -> logging.Logger:
    """Return the logger of module ``name``.

    Examples:
        >>> get_logger("include.lake").name
        'include.lake'
    """
    logger = logging.getLogger(name)
    logger.addFilter(_details_in_message)
    return logger


def show_details_in_messages(enabled: bool = True) -> None:
    """Append ``extra`` as JSON to the messages of this process, for hosts that show messages only."""
    _details_in_message.enabled = enabled


def configure_json_logs(level: int = logging.INFO) -> None:
    """Write the records of ``include`` to standard error as JSON, in processes that Airflow does not start."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(_FORMAT, rename_fields=_NAMES))
    product = logging.getLogger("include")
    product.handlers = [handler]
    product.setLevel(level)
    product.propagate = False
