"""How many files a server process may have open: each connection is one."""

from __future__ import annotations

import resource

from include.logs import get_logger

log = get_logger(__name__)

# The model's store, the prediction log, sockets, libraries: some 40 are open before the first client comes.
_OTHER_FILES = 128


def raise_open_files_limit(connections: int) -> None:
    """Raise this process's limit of open files as far as it may; say so in the log where that is too little.

    Without a file for its connection a client would be turned away by the kernel, and the prediction log would lose
    rows for which no file can be opened.

    Args:
        connections: How many connections the process allows.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + _OTHER_FILES
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except ValueError:  # macOS rejects an infinite soft limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    if hard != resource.RLIM_INFINITY and hard < needed:
        log.warning(
            "fewer open files allowed than connections need",
            extra={"open_files": hard, "connections": connections, "needed": needed},
        )
