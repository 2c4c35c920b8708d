"""Losses of components of a local stack, and the messages about them: ``make bench NAME=losses``.

A real Prometheus and a real Alertmanager run with the configuration of ``docker/``. Only their addresses differ, the
intervals are shorter, and the messages are sent to a local receiver. Each component is killed without a restart, or
suspended, until the message about its alert arrives. Then it is started again, and the alert has to end. The last line
is ``{"components", "alerted_once", "missed", "doubled"}``.

It needs Debian's packages ``prometheus`` and ``prometheus-alertmanager``.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import typer
import yaml

from benchmarks.attacks.kills import Attack, suspended
from benchmarks.attacks.scratch_stack import ScratchStack, scratch_stack
from benchmarks.figures import print_figures, report
from benchmarks.local_stack import free_ports
from benchmarks.slack_receiver import SlackReceiver, receiving
from include.settings import ROOT
from local.supervision import wait_until

_DOCKER = ROOT / "docker"
_SCALE = 2
"""The factor by which the waiting times of the rules are shorter."""
_HEARTBEAT_SECONDS = 90
_ALERT_SECONDS = 240.0
_RECOVERY_SECONDS = 300.0
_QUIET_SECONDS = 20.0
"""The time after the first message in which no second message may arrive."""


@dataclass(frozen=True)
class Loss:
    """The loss of one component.

    Attributes:
        component: The name of the program.
        alert: The alert that it must cause.
        is_suspended: Whether the processes are suspended instead of killed.
    """

    component: str
    alert: str
    is_suspended: bool = False


LOSSES = (
    Loss("scheduler", "AirflowComponentDown"),
    Loss("scheduler", "AirflowComponentDown", is_suspended=True),
    Loss("dag-processor", "AirflowComponentDown"),
    Loss("triggerer", "AirflowComponentDown"),
    Loss("api-server", "AirflowApiServerDown"),
    Loss("api-server", "AirflowApiServerDown", is_suspended=True),
    Loss("mlflow", "MlflowDown"),
    Loss("mlflow", "MlflowDown", is_suspended=True),
    Loss("serving", "EndpointDown"),
    Loss("serving", "EndpointDown", is_suspended=True),
    Loss("postgres", "AirflowDatabaseDown"),
)


def _programs(folder: Path, scratch: ScratchStack, token: Path, slack: str) -> list[list[str]]:
    """Write the configuration of both servers, and return their command lines."""
    prometheus, alertmanager, cluster = free_ports(3)
    rules = yaml.safe_load((_DOCKER / "prometheus" / "rules.yml").read_text())
    for rule in rules["groups"][0]["rules"]:
        if match := re.fullmatch(r"(\d+)m", rule.get("for", "")):
            rule["for"] = f"{int(match[1]) * 60 // _SCALE}s"
        if rule["alert"] == "AirflowComponentDown":
            rule["expr"] = rule["expr"].replace("120", str(_HEARTBEAT_SECONDS))
    (folder / "rules.yml").write_text(yaml.safe_dump(rules))
    config = yaml.safe_load((_DOCKER / "prometheus" / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "5s", "evaluation_interval": "5s"}
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{alertmanager}"]
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    jobs["churn-endpoint"]["static_configs"][0]["targets"] = [f"127.0.0.1:{scratch.settings.serving.port}"]
    jobs["churn-pipeline"]["static_configs"][0]["targets"] = [f"127.0.0.1:{scratch.stack.ports.airflow_port}"]
    jobs["churn-pipeline"]["authorization"]["credentials_file"] = str(token)
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    routes = yaml.safe_load((_DOCKER / "alertmanager" / "alertmanager.yml").read_text())
    routes["route"] |= {"group_wait": "1s", "group_interval": "5s"}
    (folder / "slack").write_text(slack)
    next(item for item in routes["receivers"] if item["name"] == "slack")["slack_configs"][0]["api_url_file"] = str(
        folder / "slack"
    )
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(routes))
    return [
        [
            *("prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"),
            f"--web.listen-address=127.0.0.1:{prometheus}",
        ],
        [
            *("prometheus-alertmanager", f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}/alerts"),
            f"--web.listen-address=127.0.0.1:{alertmanager}",
            f"--cluster.listen-address=127.0.0.1:{cluster}",
        ],
    ]


@contextmanager
def _monitored(scratch: ScratchStack, token: Path) -> Iterator[SlackReceiver]:
    """Run Prometheus and Alertmanager, and return the receiver of their messages."""
    with tempfile.TemporaryDirectory(prefix="churnflow-losses-") as name, receiving() as receiver:
        folder, processes = Path(name), []
        try:
            for command in _programs(folder, scratch, token, receiver.webhook):
                log = (folder / f"{command[0]}.log").open("wb")
                processes.append(subprocess.Popen(command, stdout=log, stderr=log))
            yield receiver
        finally:
            for process in processes:
                process.terminate()
                process.wait(30)


class _Losses:
    def __init__(self, scratch: ScratchStack, receiver: SlackReceiver) -> None:
        self._scratch = scratch
        self._receiver = receiver

    def run(self, loss: Loss) -> dict[str, Any]:
        """Cause a loss until its message arrives, end it, wait until the alert ends, and return the figures."""
        self._receiver.messages.clear()
        start = time.monotonic()
        with self._lost(loss):
            wait_until(lambda: bool(self._alerts()), _ALERT_SECONDS)
            seconds = time.monotonic() - start
            time.sleep(_QUIET_SECONDS)
            alerts = self._alerts()
        recovered = wait_until(self._has_recovered, _RECOVERY_SECONDS)
        ended = wait_until(self._ended, _RECOVERY_SECONDS)
        time.sleep(_QUIET_SECONDS)
        return {
            "component": loss.component,
            "is_suspended": loss.is_suspended,
            "alerts": alerts,
            "alerts_after_the_restart": self._alerts()[len(alerts) :],
            "seconds_to_the_alert": round(seconds),
            "recovered": recovered,
            "ended": ended,
            "messages": [f"{message['title']}. {' '.join(message['text'].split())}" for message in self._messages()],
            "alerted_once": self._alerts() == [loss.alert],
            "missed": loss.alert not in alerts,
            "doubled": len(self._alerts()) > 1,
        }

    def _alerts(self) -> list[str]:
        """Return the alerts that the received messages report as begun."""
        titles = [message["title"] for message in self._messages()]
        return [title.partition(": ")[2] for title in titles if not title.startswith("ended: ")]

    def _ended(self) -> bool:
        messages = self._messages()
        return bool(messages) and messages[-1]["title"].startswith("ended: ")

    def _messages(self) -> list[dict[str, str]]:
        return [attachment for message in self._receiver.messages for attachment in message["attachments"]]

    @contextmanager
    def _lost(self, loss: Loss) -> Iterator[None]:
        supervisor = self._scratch.stack.supervisor
        if loss.is_suspended:
            with suspended([psutil.Process(supervisor.process_id(loss.component))]):
                yield
            return
        supervisor.kill(loss.component)
        if loss.component == "postgres" and (server := self._scratch.stack.postgres_process()) is not None:
            server.kill()  # it is not in the process group of its program
        yield
        # Without its database, Airflow's processes have also ended.
        for name, state in supervisor.states().items():
            if state != "RUNNING":
                supervisor.start(name)

    def _has_recovered(self) -> bool:
        stack = self._scratch.stack
        running = set(stack.supervisor.states().values()) == {"RUNNING"}
        return running and set(stack.health().values()) == {"healthy"}


def _killed_task(scratch: ScratchStack) -> dict[str, Any]:
    """Deploy a model, kill both tries of a task, and return the figures of its run."""
    attack = Attack(scratch)
    scratch.client.pause("churn_monitor")
    attack.deployment_without_a_day(scratch.versions[0])
    found = attack.evaluate(attack.killed_task("churn_score", "score_customers", tries=2))
    messages = found["messages"][0]
    return {
        "component": "task",
        "messages": messages,
        "alerted_once": messages == 1,
        "missed": messages == 0,
        "doubled": messages > 1,
    }


def _require_programs() -> None:
    missing = [name for name in ("prometheus", "prometheus-alertmanager") if shutil.which(name) is None]
    if missing:
        print(f"Not installed: {', '.join(missing)}. Remedy: apt-get install {' '.join(missing)}", file=sys.stderr)
        raise typer.Exit(2)


def main() -> None:
    """Run all losses, and print the figures as one JSON object on the last line."""
    _require_programs()
    with tempfile.TemporaryDirectory(prefix="churnflow-losses-") as name:
        token = Path(name) / "token"
        token.write_text("a-token-for-this-benchmark-only-0123456789")
        with scratch_stack({"CHURN_METRICS__TOKEN_FILE": str(token)}) as scratch:
            found = [_report(_killed_task(scratch))]
            with _monitored(scratch, token) as receiver:
                losses = _Losses(scratch, receiver)
                found += [_report(losses.run(loss)) for loss in LOSSES]
    figures = {
        "components": len(found),
        **{key: sum(item[key] for item in found) for key in ("alerted_once", "missed", "doubled")},
    }
    print_figures("losses", figures, {"losses": found})


def _report(figures: dict[str, Any]) -> dict[str, Any]:
    report(figures)
    return figures


if __name__ == "__main__":
    typer.run(main)
