"""A standalone cluster of Spark on this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pyspark
from tenacity import retry, retry_if_exception_type, retry_if_result, stop_after_delay, wait_fixed

from benchmarks.local_stack import free_ports
from include.lake import spark

_DEFAULTS = Path(spark.__file__).parent / "spark_conf"


@contextlib.contextmanager
def standalone_cluster(workers: int) -> Iterator[Path]:
    """Start a master and workers of one core each, and yield a folder for ``SPARK_CONF_DIR``.

    Args:
        workers: The number of workers.
    """
    port, page = free_ports(2)
    started: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory(prefix="spark-") as name:
        folder = Path(name)
        try:
            master = f"spark://127.0.0.1:{port}"
            started.append(_start(folder, "master.Master", "--port", str(port), "--webui-port", str(page)))
            for _ in range(workers):
                started.append(
                    _start(folder, "worker.Worker", "--cores", "1", "--memory", "2g", "--webui-port", "0", master)
                )
            _wait_for_workers(f"http://127.0.0.1:{page}/json/", workers)
            yield _configuration(folder, master)
        finally:
            for process in reversed(started):
                os.killpg(process.pid, signal.SIGTERM)
            for process in started:
                process.wait()


def _start(folder: Path, service: str, *arguments: str) -> subprocess.Popen[bytes]:
    home = Path(pyspark.__file__).parent
    environment = {
        **os.environ,
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_WORKER_DIR": str(folder),
    }
    command = [str(home / "bin/spark-class"), f"org.apache.spark.deploy.{service}", "--host", "127.0.0.1", *arguments]
    with (folder / "cluster.log").open("ab") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)


def _configuration(folder: Path, master: str) -> Path:
    defaults = (_DEFAULTS / "spark-defaults.conf").read_text().splitlines()
    lines = [line for line in defaults if not line.startswith("spark.master")]
    (folder / "spark-defaults.conf").write_text(
        "\n".join([*lines, f"spark.master {master}", "spark.executor.memory 1536m"])
    )
    (folder / "log4j2.properties").write_text((_DEFAULTS / "log4j2.properties").read_text())
    return folder


@retry(
    retry=retry_if_exception_type(httpx.HTTPError) | retry_if_result(lambda complete: not complete),
    wait=wait_fixed(0.2),
    stop=stop_after_delay(60),
)
def _wait_for_workers(page: str, number: int) -> bool:
    return int(httpx.get(page).json()["aliveworkers"]) == number
