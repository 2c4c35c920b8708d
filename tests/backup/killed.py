"""``python -m tests.backup.killed EVENT NUMBER ARGUMENTS...``: a command that is killed at the n-th audit event."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from include.backup.__main__ import app

if __name__ == "__main__":
    wanted, left = sys.argv[1], int(sys.argv[2])

    def kill_at_event(event: str, _: tuple[Any, ...]) -> None:
        global left
        if event == wanted:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.argv[1:] = sys.argv[3:]
    import include.backup.create
    import include.backup.restore  # noqa: F401 - the imports' own events do not count

    sys.addaudithook(kill_at_event)
    app()
