"""Supervisor, the process manager of the stack: its configuration and its XML-RPC interface."""

from __future__ import annotations

import configparser
import contextlib
import hashlib
import io
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

import psutil
from supervisor.xmlrpc import SupervisorTransport

from include.errors import ChurnflowError
from include.local_files import PRIVATE, write_atomically


class ProcessError(ChurnflowError):
    """A process of the stack did not start or did not stop."""


@dataclass(frozen=True)
class Program:
    """One process of the stack.

    Attributes:
        name: The name.
        command: The command line.
        priority: The order of stopping: programs with lower values stop later.
        environment: The environment variables.
        whole_group: Whether the stop signal goes to the whole process group, or to the process only.
    """

    name: str
    command: list[str]
    priority: int
    environment: dict[str, str]
    whole_group: bool = True


class Supervisor:
    """One supervisor daemon, identified by its folder.

    Args:
        folder: The folder for the configuration and the logs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # The path of a socket is limited to about 100 characters; the path of the folder may be longer.
        digest = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
        self._socket = Path(tempfile.gettempdir()) / f"churnflow-{os.getuid()}-{digest}.sock"
        self._pid_file = folder / "supervisord.pid"

    def pid(self) -> int | None:
        """Return the process id of the daemon; None unless it is running."""
        try:
            pid = int(self._pid_file.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return pid if "supervisord" in (_command_of(pid) or "") else None

    def launch(self) -> None:
        """Start the daemon without programs."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write([])
        subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(self._config)], check=True, cwd=self.folder
        )
        self._wait_for_socket()

    def add(self, programs: list[Program], present: list[Program]) -> None:
        """Add programs and start them.

        Args:
            programs: The programs to add.
            present: The programs that were added before.
        """
        self._write([*present, *programs])
        self._call("reloadConfig")
        for program in programs:
            with contextlib.suppress(Fault):
                self._call("addProcessGroup", program.name)
            with contextlib.suppress(Fault):  # already started with its group
                self._call("startProcess", program.name, False)

    def kill(self, name: str) -> None:
        """Kill all processes of a program, and do not start it again."""
        group = os.getpgid(self.process_id(name))
        with contextlib.suppress(Fault):  # it ended between the two signals
            self._call("stopProcess", name, False)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)

    def start(self, name: str) -> None:
        """Start a program that does not run."""
        with contextlib.suppress(Fault):  # it is starting
            self._call("startProcess", name, False)

    def process_id(self, name: str) -> int:
        """Return the process id of a running program."""
        return int(self._call("getProcessInfo", name)["pid"])

    def states(self) -> dict[str, str]:
        """Return the state of each program, such as ``RUNNING`` or ``FATAL``."""
        return {item["name"]: item["statename"] for item in self._call("getAllProcessInfo")}

    def require_alive(self) -> None:
        """Check that no program has exited for good.

        Raises:
            ProcessError: A program has exited; the message contains the end of its log.
        """
        for name, state in self.states().items():
            if state in ("FATAL", "EXITED", "UNKNOWN"):
                raise ProcessError(
                    f"{name} is {state}. The end of its log:\n{self.log_tail(name)}\n",
                    where=str(self.log_path(name)),
                    remedy="Correct the error in the log, then start again.",
                )

    def log_path(self, name: str) -> Path:
        """Return the path of a program's log."""
        return self.folder / "logs" / f"{name}.log"

    def log_tail(self, name: str) -> str:
        """Return the last 20 lines of the log of a program."""
        try:
            return "\n".join(self.log_path(name).read_text(errors="replace").splitlines()[-20:])
        except FileNotFoundError:
            return "(no log)"

    def shut_down(self) -> None:
        """Stop all programs in reverse order of their start, then the daemon; kill the processes that remain.

        Raises:
            ProcessError: A process survived SIGKILL.
        """
        processes, timeout = self._session_processes(), 60.0
        if not self._request_shutdown():
            # The daemon was killed; its programs continue without it.
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.terminate()
            timeout = 15.0  # some programs wait for each other and never exit
        _, alive = psutil.wait_procs(processes, timeout=timeout)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        _, alive = psutil.wait_procs(alive, timeout=5)
        if alive:
            raise ProcessError(
                f"Processes {[item.pid for item in alive]} did not exit.", where=str(self.folder), remedy="Kill them."
            )
        self._socket.unlink(missing_ok=True)
        self._pid_file.unlink(missing_ok=True)

    def _request_shutdown(self) -> bool:
        """Request the daemon to stop all programs and itself; return whether a daemon received the request."""
        if self.pid() is None:
            return False
        try:
            self._call("shutdown")
        except Fault:  # the shutdown has already begun
            return True
        except (OSError, HTTPException):
            return False
        return True

    def _session_processes(self) -> list[psutil.Process]:
        """Return the daemon and all processes of its session, also after the daemon was killed."""
        try:
            session, written = int(self._pid_file.read_text()), self._pid_file.stat().st_mtime
        except (FileNotFoundError, ValueError):
            return []
        command = _command_of(session)
        if written < psutil.boot_time() or (command and "supervisord" not in command):
            return []  # the process id belongs to another process by now
        return [process for process in psutil.process_iter() if _session_of(process) == session]

    @property
    def _config(self) -> Path:
        return self.folder / "supervisord.conf"

    def _write(self, programs: list[Program]) -> None:
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        parser = configparser.RawConfigParser()
        parser.optionxform = str  # type: ignore[assignment, method-assign]
        parser["unix_http_server"] = {"file": str(self._socket), "chmod": "0700"}
        parser["rpcinterface:supervisor"] = {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        }
        parser["supervisord"] = {
            "logfile": str(self.folder / "supervisord.log"),
            "pidfile": str(self._pid_file),
            "childlogdir": str(self.folder / "logs"),
        }
        if os.getuid() == 0:
            parser["supervisord"]["user"] = "root"
        for program in programs:
            parser[f"program:{program.name}"] = self._section(program)
        text = io.StringIO()
        parser.write(text)
        # The file contains the environment with the keys: only its owner may read it.
        write_atomically(self._config, text.getvalue(), PRIVATE)

    def _section(self, program: Program) -> dict[str, str]:
        changed = {key: value for key, value in program.environment.items() if os.environ.get(key) != value}
        group = str(program.whole_group).lower()
        return {
            "command": _escape(shlex.join(program.command)),
            "environment": ",".join(f"{key}={_escape(_quoted(value))}" for key, value in sorted(changed.items())),
            "directory": str(self.folder),
            "priority": str(program.priority),
            "autostart": "true",
            "autorestart": "true",
            "startsecs": "2",
            "startretries": "2",
            "stopwaitsecs": "25",
            "stopasgroup": group,
            "killasgroup": group,
            "redirect_stderr": "true",
            "stdout_logfile": str(self.log_path(program.name)),
            "stdout_logfile_maxbytes": "20MB",
            "stdout_logfile_backups": "1",
        }

    def _call(self, method: str, *arguments: Any) -> Any:
        proxy = ServerProxy("http://localhost", SupervisorTransport(None, None, f"unix://{self._socket}"))
        return getattr(proxy.supervisor, method)(*arguments)

    def _wait_for_socket(self) -> None:
        def responds() -> bool:
            with contextlib.suppress(OSError, HTTPException):
                self._call("getState")
                return True
            return False

        if not wait_until(responds, 15.0):
            raise ProcessError(
                "The process manager does not respond.",
                where=str(self.folder / "supervisord.log"),
                remedy="Read that log, then start again.",
            )


def wait_until(condition: Callable[[], bool], timeout: float, pause: float = 0.2) -> bool:
    """Poll a condition until it is true or the time limit has passed.

    Args:
        condition: The condition.
        timeout: The time limit in seconds.
        pause: The seconds between two checks.

    Returns:
        Whether the condition is true.
    """
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(pause)
    return condition()


def _session_of(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except OSError:
        return None


def _command_of(pid: int) -> str | None:
    """Return the command line of a process: None when it does not exist, an empty string while it is ending."""
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess as error:
        return "" if isinstance(error, psutil.ZombieProcess) else None
    except psutil.AccessDenied:
        return "(process of another user)"


def _escape(text: str) -> str:
    return text.replace("%", "%%")  # supervisor expands %(...)s


def _quoted(value: str) -> str:
    """Return a value for supervisor, which knows both quotes and no escapes, and removes all quotes at both ends."""
    if ('"' in value and "'" in value) or value.strip("'\"") != value:
        raise ValueError("A variable for supervisor cannot contain both quotes, nor a quote at an end.")
    quote = "'" if '"' in value else '"'
    return f"{quote}{value}{quote}"
