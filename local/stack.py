"""The local stack: PostgreSQL, Airflow, MLflow and the endpoint, started in the order in which they need each other."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil

from include.settings import ROOT, Settings, get_settings
from local.environment import stack_environment
from local.ports import LocalPorts, require_free
from local.postgres import database_url, databases_exist, socket_dir
from local.supervision import ProcessError, Program, Supervisor, wait_until

Report = Callable[[str], None]

_BIN = Path(sys.executable).parent
# Healthy in half a minute on two idle cores; a process that dies ends the wait at once.
_BOOT_SECONDS = 300
_COMPONENTS = ("metadatabase", "scheduler", "dag_processor", "triggerer")


class Stack:
    """One stack, found by its home folder; several can run side by side on different ports.

    Args:
        settings: The deployment; from the environment when left out.
        ports: The stack's ports, likewise.
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
        """The address of Airflow's UI and API."""
        return f"http://127.0.0.1:{self.ports.airflow_port}"

    @property
    def mlflow_url(self) -> str:
        """The address of MLflow."""
        return f"http://127.0.0.1:{self.ports.mlflow_port}"

    def up(self, report: Report) -> None:
        """Start what does not run yet and return when all of it is healthy.

        Args:
            report: Told of each step.

        Raises:
            PortError: A port is taken.
            ProcessError: A process does not start; everything is stopped again.
        """
        if self.supervisor.pid() is not None:
            self._wait_healthy()
            report("The stack runs already.")
            return
        self.supervisor.shut_down()  # what a killed daemon has left would hold the ports
        require_free(self.ports, self.settings)
        try:
            self._boot(report)
        except BaseException:
            self.down(report)
            raise

    def down(self, report: Report) -> None:
        """Stop everything and check that no process is left."""
        self.supervisor.shut_down()
        with contextlib.suppress(psutil.NoSuchProcess):
            self._stop_orphaned_postgres()
        report("The stack is down.")

    def environment(self) -> dict[str, str]:
        """Return the environment that Airflow runs with.

        Raises:
            ProcessError: The stack does not run.
        """
        host = socket_dir(self._postgres_data)
        if self.supervisor.pid() is None or host is None:
            raise ProcessError("The stack does not run.", where=str(self.settings.home), remedy="Run `make up`.")
        return stack_environment(self.settings, self.ports, host)

    def health(self) -> dict[str, str]:
        """Return the state of each of Airflow's components, or nothing while it does not answer."""
        try:
            answer = httpx.get(f"{self.airflow_url}/api/v2/monitor/health", timeout=3).json()
        except (httpx.HTTPError, ValueError):
            return {}
        return {name: str((answer.get(name) or {}).get("status")) for name in _COMPONENTS}

    @property
    def _postgres_data(self) -> Path:
        return self.settings.home / "postgres"

    def _boot(self, report: Report) -> None:
        self.supervisor.launch()
        postgres = Program(
            "postgres",
            [sys.executable, "-m", "local.postgres", str(self._postgres_data)],
            priority=1,
            environment={"PYTHONPATH": str(ROOT)},
            whole_group=False,
        )
        self.supervisor.add([postgres], [])
        self._await("PostgreSQL", self._postgres_ready, 60)
        report("PostgreSQL is ready.")
        environment = self.environment()
        self._migrate(environment)
        report("Airflow's database is migrated.")
        first, second = self._programs(environment)
        self.supervisor.add(first, [postgres])
        self._await("Airflow's api-server", lambda: bool(self.health()), _BOOT_SECONDS)
        report("Airflow's api-server answers.")
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
        # The log servers of scheduler and triggerer would listen on every interface; logs are read from files.
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
                f"Airflow's database could not be migrated:\n{self.supervisor.log_tail('migrate')}\n",
                where=str(log),
                remedy="Correct what the log says, then start again.",
            )

    def _postgres_ready(self) -> bool:
        host = socket_dir(self._postgres_data)
        return host is not None and databases_exist(host)

    def _wait_healthy(self) -> None:
        self._await("Airflow", lambda: set(self.health().values()) == {"healthy"}, _BOOT_SECONDS)
        self._await("MLflow", lambda: _answers(f"{self.mlflow_url}/health"), _BOOT_SECONDS)

    def _await(self, what: str, condition: Callable[[], bool], timeout: float) -> None:
        def alive_and_ready() -> bool:
            self.supervisor.require_alive()
            return condition()

        if not wait_until(alive_and_ready, timeout):
            raise ProcessError(
                f"{what} was not ready within {timeout:.0f} s.",
                where=str(self.supervisor.folder / "logs"),
                remedy="Read the logs there; `make up` starts again.",
            )

    def _stop_orphaned_postgres(self) -> None:
        """End a server whose supervising process was killed; its pid file names it."""
        pid_file = self._postgres_data / "postmaster.pid"
        if not pid_file.exists():
            return
        pid, data = pid_file.read_text().splitlines()[:2]
        process = psutil.Process(int(pid))
        if data == str(self._postgres_data) and process.name() == "postgres":
            process.terminate()
            process.wait(30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=3).is_success
    except httpx.HTTPError:
        return False
