"""Structured logs: one JSON object a line, with no personal data and no secrets in it.

Callers log an event's name and pass numbers and references as ``extra``; they never log a row.
"""

from __future__ import annotations

import logging
import sys

from pythonjsonlogger.json import JsonFormatter

_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
_NAMES = {"asctime": "time", "levelname": "level", "name": "logger", "message": "event"}


def get_logger(name: str) -> logging.Logger:
    """Return the logger of module ``name``.

    Example:
        >>> get_logger("include.lake").name
        'include.lake'
    """
    return logging.getLogger(name)


def configure_json_logs(level: int = logging.INFO) -> None:
    """Send every record of ``include`` to standard error as JSON; for processes that Airflow does not start."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(_FORMAT, rename_fields=_NAMES))
    product = logging.getLogger("include")
    product.handlers = [handler]
    product.setLevel(level)
    product.propagate = False
