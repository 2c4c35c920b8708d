"""The local stack: PostgreSQL, Airflow, MLflow and the endpoint, started in the order of their dependencies."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil

from include.local_files import write_atomically
from include.settings import ROOT, ProjectMismatchError, Settings, get_settings
from local.environment import LocalPorts, airflow_database, require_free, stack_environment
from local.postgres import database_url, databases_exist, socket_dir
from local.supervision import ProcessError, Program, Supervisor, wait_until
from local.users import LocalUsers

Report = Callable[[str], None]

_BIN = Path(sys.executable).parent
# The stack is healthy after half a minute on two idle cores. A process that exits ends the wait immediately.
_BOOT_SECONDS = 300
_COMPONENTS = ("metadatabase", "scheduler", "dag_processor", "triggerer")


class Stack:
    """One stack, identified by its home folder, for one project at a time.

    Several stacks with different home folders can run at the same time on different ports.

    Args:
        settings: The settings; from the environment by default.
        ports: The ports of Airflow and MLflow; from the environment by default.
    """

    def __init__(self, settings: Settings | None = None, ports: LocalPorts | None = None) -> None:
        self.ports = ports or LocalPorts()
        given = settings or get_settings()
        self.settings = given.model_copy(
            update={"mlflow": given.mlflow.model_copy(update={"tracking_uri": self.mlflow_url})}
        )
        self.supervisor = Supervisor(self.settings.home / "stack")

    @property
    def airflow_url(self) -> str:
        """The base URL of Airflow's UI and API."""
        return f"http://127.0.0.1:{self.ports.airflow_port}"

    @property
    def mlflow_url(self) -> str:
        """The base URL of MLflow."""
        return f"http://127.0.0.1:{self.ports.mlflow_port}"

    @property
    def admin_password(self) -> str | None:
        """The password of Airflow's user ``admin``; None if Airflow needs no password."""
        return LocalUsers().admin_password(self.supervisor.folder)

    def up(self, report: Report) -> None:
        """Start the stack and wait until all parts are healthy.

        Args:
            report: Called with a message after each step.

        Raises:
            PortError: A port is in use.
            ProjectMismatchError: The stack is running for another project.
            ProcessError: A process did not start; the others are stopped again.
        """
        if self.supervisor.pid() is not None:
            self._require_own()
            self._wait_healthy()
            report("The stack is already running.")
            return
        self.supervisor.shut_down()  # processes that outlived a killed daemon
        require_free(self.ports, self.settings)
        try:
            self._boot(report)
        except BaseException:
            self.down(report)
            raise

    def down(self, report: Report) -> None:
        """Stop all processes of the stack, including those that outlived a killed daemon."""
        self.supervisor.shut_down()
        if (server := self.postgres_process()) is not None:  # it outlived its killed supervising process
            with contextlib.suppress(psutil.NoSuchProcess):
                server.terminate()
                server.wait(30)
        report("The stack is stopped.")

    def postgres_process(self) -> psutil.Process | None:
        """Return the running process of the PostgreSQL server, which its pid file contains."""
        with contextlib.suppress(FileNotFoundError, psutil.NoSuchProcess):
            pid, data = (self._postgres_data / "postmaster.pid").read_text().splitlines()[:2]
            process = psutil.Process(int(pid))
            if data == str(self._postgres_data) and process.name() == "postgres":
                return process
        return None

    @contextlib.contextmanager
    def postgres(self) -> Iterator[str]:
        """Yield the folder of the socket of the PostgreSQL server, which is started if the stack is not running.

        Raises:
            ProcessError: The server did not start.
            ProjectMismatchError: The stack is running for another project.
        """
        if self.supervisor.pid() is not None:
            self._require_own()
            yield socket_dir(self._postgres_data) or ""
            return
        self.down(lambda _: None)  # processes that outlived a killed daemon
        try:
            self._start_postgres()
            yield socket_dir(self._postgres_data) or ""
        finally:
            self.down(lambda _: None)

    def environment(self) -> dict[str, str]:
        """Return the environment variables of Airflow's processes.

        Raises:
            ProcessError: The stack is not running.
            ProjectMismatchError: The stack is running for another project.
        """
        host = socket_dir(self._postgres_data)
        if self.supervisor.pid() is None or host is None:
            raise ProcessError("The stack is not running.", where=str(self.settings.home), remedy="Run `make up`.")
        self._require_own()
        return stack_environment(self.settings, self.ports, host)

    def health(self) -> dict[str, str]:
        """Return the status of each Airflow component; an empty dict while the api-server does not respond."""
        try:
            answer = httpx.get(f"{self.airflow_url}/api/v2/monitor/health", timeout=3).json()
        except (httpx.HTTPError, ValueError):
            return {}
        return {name: str((answer.get(name) or {}).get("status")) for name in _COMPONENTS}

    @property
    def _postgres_data(self) -> Path:
        return self.settings.home / "postgres"

    @property
    def _databases(self) -> tuple[str, str]:
        return airflow_database(self.settings), "mlflow"

    @property
    def _project_file(self) -> Path:
        return self.supervisor.folder / "project"

    def _require_own(self) -> None:
        running = self._project_file.read_text() if self._project_file.exists() else ""
        if running != self.settings.project:
            raise ProjectMismatchError(
                f"The stack is running for another project ({running or 'unknown'}).",
                where=str(self.settings.home),
                remedy="Run `make down` first, or set CHURN_PROJECT to that project.",
            )

    def _start_postgres(self) -> Program:
        write_atomically(self._project_file, self.settings.project)
        self.supervisor.launch()
        postgres = Program(
            "postgres",
            [sys.executable, "-m", "local.postgres", str(self._postgres_data), *self._databases],
            priority=1,
            environment={"PYTHONPATH": str(ROOT)},
            whole_group=False,
        )
        self.supervisor.add([postgres], [])
        self._await("PostgreSQL", self._postgres_ready, 60)
        return postgres

    def _boot(self, report: Report) -> None:
        postgres = self._start_postgres()
        report("PostgreSQL is ready.")
        environment = self.environment()
        self._migrate(environment)
        report("Airflow's database is migrated.")
        first, second = self._programs(environment)
        self.supervisor.add(first, [postgres])
        self._await("Airflow's api-server", lambda: bool(self.health()), _BOOT_SECONDS)
        report("Airflow's api-server is ready.")
        self.supervisor.add(second, [postgres, *first])
        self._wait_healthy()
        report("All parts are healthy.")

    def _programs(self, environment: dict[str, str]) -> tuple[list[Program], list[Program]]:
        def program(name: str, priority: int, *command: str) -> Program:
            return Program(name, list(command), priority, environment)

        airflow = str(_BIN / "airflow")
        host = socket_dir(self._postgres_data) or ""
        mlflow = [
            *(str(_BIN / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(self.ports.mlflow_port)),
            *("--workers", "1", "--backend-store-uri", database_url(host, "mlflow")),
            *("--artifacts-destination", str(self.settings.home / "mlflow")),
        ]
        serving = (sys.executable, "-m", "include.serving", "run")
        first = [
            program("api-server", 10, airflow, "api-server"),
            program("dag-processor", 20, airflow, "dag-processor"),
        ]
        # Without --skip-serve-logs, scheduler and triggerer open log servers on all network interfaces.
        second = [
            program("scheduler", 30, airflow, "scheduler", "--skip-serve-logs"),
            program("triggerer", 30, airflow, "triggerer", "--skip-serve-logs"),
            program("mlflow", 20, *mlflow),
            program("serving", 20, *serving),
        ]
        return first, second

    def _migrate(self, environment: dict[str, str]) -> None:
        log = self.supervisor.log_path("migrate")
        with log.open("ab") as stream:
            done = subprocess.run(
                [str(_BIN / "airflow"), "db", "migrate"], env=environment, stdout=stream, stderr=stream, check=False
            )
        if done.returncode:
            raise ProcessError(
                f"The migration of Airflow's database failed:\n{self.supervisor.log_tail('migrate')}\n",
                where=str(log),
                remedy="Correct the error in the log, then start again.",
            )

    def _postgres_ready(self) -> bool:
        host = socket_dir(self._postgres_data)
        return host is not None and databases_exist(host, self._databases)

    def _wait_healthy(self) -> None:
        self._await("Airflow", lambda: set(self.health().values()) == {"healthy"}, _BOOT_SECONDS)
        self._await("MLflow", lambda: _responds(f"{self.mlflow_url}/health"), _BOOT_SECONDS)

    def _await(self, part: str, condition: Callable[[], bool], timeout: float) -> None:
        def is_ready() -> bool:
            self.supervisor.require_alive()
            return condition()

        if not wait_until(is_ready, timeout):
            raise ProcessError(
                f"{part} was not ready within {timeout:.0f} s.",
                where=str(self.supervisor.folder / "logs"),
                remedy="Read the logs there, then run `make up`.",
            )


def _responds(url: str) -> bool:
    try:
        return httpx.get(url, timeout=3).is_success
    except httpx.HTTPError:
        return False
