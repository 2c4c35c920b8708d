"""The public address of the endpoint: one socket, which the runner keeps while servers come and go."""

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
    """The public address cannot be had."""


def lock_endpoint(serving_dir: Path) -> FileLock:
    """Return the lock that one runner holds for as long as it lives: a second one would end the servers of the first.

    Raises:
        ListenerError: Another runner holds it.
    """
    serving_dir.mkdir(parents=True, exist_ok=True)
    lock = FileLock(serving_dir / "runner.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise ListenerError(
            "Another runner keeps this endpoint.",
            where=str(serving_dir),
            remedy="End that one first, or give this one a folder of its own with CHURN_HOME.",
        ) from error
    return lock


def bind_public(settings: ServingSettings) -> socket.socket:
    """Return a socket that has the endpoint's address and does not listen: until a server does, clients are refused.

    Never with SO_REUSEPORT: each listener would have a queue of its own, and take what is in it along when it closes.

    Raises:
        ListenerError: The port is taken, or the address is not one of this machine.
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
            "The port is taken." if taken else f"The address cannot be used ({error.strerror}).",
            where=f"{settings.host}:{settings.port}",
            remedy="End what listens there, or choose others with CHURN_SERVING__HOST and CHURN_SERVING__PORT.",
        ) from error
    return public


def private_folder(serving_dir: Path) -> Path:
    """Return the folder of the servers' private sockets, empty, which only this user can enter.

    It is not below ``serving_dir``: a Unix socket's path is limited to about 100 characters.

    Raises:
        ListenerError: It cannot be made; somebody else may have.
    """
    digest = hashlib.sha256(str(serving_dir).encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"churnflow-serving-{os.getuid()}-{digest}"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise ListenerError(
            f"The folder of the servers' sockets cannot be made anew ({error.strerror}).",
            where=str(folder),
            remedy="Remove it.",
        ) from error
    return folder


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False
