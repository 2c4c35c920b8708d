"""Timeouts for stopping a server, in seconds: the timeouts of the server and of the process that stops the server.

A Bento contains all modules that its server imports, so this module imports nothing.
"""

from __future__ import annotations

LAST_ANSWERS_SECONDS = 10
"""The time to finish the open requests when a server stops. The largest batch takes about a second."""

LOG_SECONDS = 5.0
"""The time to write the prediction log. Its delivery has the same time in addition."""

STOP_SECONDS = LAST_ANSWERS_SECONDS + 2 * LOG_SECONDS + 3.0
"""The time after which a stopping server is killed; a draining server has its drain time in addition."""
