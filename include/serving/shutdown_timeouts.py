"""How long a server takes to stop: for its last answers, then for the prediction log. Seconds, all of them.

It imports little, because it is shipped with the service; whoever stops a server reckons with the same figures.
"""

from __future__ import annotations

LAST_ANSWERS_SECONDS = 10
"""After which a request that is still being answered is let go. While a server runs a request may take longer, but few
do: the largest batch takes about a second."""

LOG_SECONDS = 5.0
"""For the prediction log to be written, and as long again for it to be delivered."""

STOP_SECONDS = LAST_ANSWERS_SECONDS + 2 * LOG_SECONDS + 3.0
"""After which a server that was told to stop is killed; one that drains has its drain time before."""
