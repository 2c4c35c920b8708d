"""How long a server takes to stop, in seconds: the timeouts of the server and of the process that stops it.

The server is shipped with the Bento, so this module imports nothing.
"""

from __future__ import annotations

LAST_ANSWERS_SECONDS = 10
"""The time for requests that are still being answered when a server stops. The largest batch takes about a second."""

LOG_SECONDS = 5.0
"""The time to write the prediction log, and again the time to deliver it."""

STOP_SECONDS = LAST_ANSWERS_SECONDS + 2 * LOG_SECONDS + 3.0
"""The time after which a stopping server is killed; a draining server has its drain time in addition."""
