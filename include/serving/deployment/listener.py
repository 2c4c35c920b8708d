"""The public address of the endpoint: one socket, which the runner keeps while server processes start and end."""

from __future__ import annotations

import errno
import hashlib
import ipaddress
import os
import shutil
import socket
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

from include.errors import ChurnflowError
from include.settings import ServingSettings


class ListenerError(ChurnflowError):
    """The public address is not available."""


def lock_endpoint(serving_dir: Path) -> FileLock:
    """Acquire and return the lock of the runner. A second runner would end the servers of the first runner.

    Raises:
        ListenerError: Another runner holds the lock.
    """
    serving_dir.mkdir(parents=True, exist_ok=True)
    lock = FileLock(serving_dir / "runner.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise ListenerError(
            "Another runner serves this endpoint.",
            where=str(serving_dir),
            remedy="Stop that runner first, or set another CHURN_HOME for this runner.",
        ) from error
    return lock


def bind_public(settings: ServingSettings) -> socket.socket:
    """Return a socket that is bound to the endpoint's address. It does not listen yet, so connections are refused.

    The socket does not set SO_REUSEPORT. With this option, each listener has its own queue of connections, and drops
    the queued connections when it is closed.

    Raises:
        ListenerError: The port is in use, or the address does not belong to this machine.
    """
    family = socket.AF_INET6 if _is_ipv6(settings.host) else socket.AF_INET
    public = socket.socket(family)
    public.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        public.bind((settings.host, settings.port))
    except OSError as error:
        public.close()
        taken = error.errno == errno.EADDRINUSE
        raise ListenerError(
            "The port is in use." if taken else f"The address cannot be used ({error.strerror}).",
            where=f"{settings.host}:{settings.port}",
            remedy="Stop the process that listens there, or set CHURN_SERVING__HOST and CHURN_SERVING__PORT.",
        ) from error
    return public


def private_folder(serving_dir: Path) -> Path:
    """Return an empty folder for the servers' private sockets, which only this user can enter.

    It is not below ``serving_dir``, because the path of a Unix socket is limited to about 100 characters.

    Raises:
        ListenerError: The folder cannot be created; another user may own it.
    """
    digest = hashlib.sha256(str(serving_dir).encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"churnflow-serving-{os.getuid()}-{digest}"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise ListenerError(
            f"The folder of the servers' sockets cannot be created ({error.strerror}).",
            where=str(folder),
            remedy="Remove the folder.",
        ) from error
    return folder


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False
