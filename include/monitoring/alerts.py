"""The content of messages to people: failed runs, incidents and acknowledgements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from include.monitoring.incidents import Acknowledgement, Incident

_ENDED = "The process of the task was killed, or its machine was lost."
_FACTS_OF_A_CHANGE = 3
_RUNBOOK = "docs/runbook.md"


@dataclass(frozen=True)
class Message:
    """A message to people.

    Attributes:
        title: The headline.
        lines: The details, one fact per line.
        links: The addresses by their names; an address without a scheme is a path.
    """

    title: str
    lines: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()

    @property
    def text(self) -> str:
        """The message in one line, for logs and notifications."""
        links = [f"{name}: {address}" for name, address in self.links]
        return " | ".join(" ".join(part.split()) for part in (self.title, *self.lines, *links))

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Message:
        """Return the message from plain JSON types."""
        return cls(content["title"], tuple(content["lines"]), tuple((name, url) for name, url in content["links"]))


@dataclass(frozen=True)
class Addresses:
    """The addresses of the deployment, for links.

    Attributes:
        airflow: The address of Airflow's UI; may be empty.
        runbook: The address of the published docs/runbook.md; may be empty.
    """

    airflow: str = ""
    runbook: str = ""

    def report(self, path: str) -> str:
        """Return the address of a report, or its path if the address of Airflow is not known.

        Args:
            path: The path below the reports' folder.
        """
        return f"{self.airflow}/churn/view/{path}" if self.airflow else path

    def section(self, anchor: str) -> str:
        """Return the address of a section of the runbook.

        Args:
            anchor: The anchor of the section.
        """
        return f"{self.runbook or _RUNBOOK}#{anchor}"


def run_failure(
    dag_id: str, run_id: str, failures: Mapping[str, str | None], reason: str, url: str, addresses: Addresses
) -> Message:
    """Return the message about a failed DAG run.

    Args:
        dag_id: The DAG.
        run_id: The run.
        failures: The errors of the failed tasks, by task, as sentences without personal data; None for a task whose
            process ended without an error, for example because it was killed.
        reason: Airflow's reason for the end of the run, stated if no task failed.
        url: The address of the run.
        addresses: The address of the runbook.
    """
    found = [f"{task}: {error or _ENDED}" for task, error in failures.items()] or [f"Reason: {reason}"]
    title = f"{dag_id} failed: {', '.join(failures)}" if failures else f"{dag_id} failed"
    links = (("Log", url), ("Runbook", addresses.section("failed-run")))
    return Message(title, (f"Run {run_id}", *found), links)


def incident_message(incident: Incident, addresses: Addresses) -> Message:
    """Return the message about a change of an incident: all facts when it opens, and the first facts later.

    Args:
        incident: The incident on the day of the change.
        addresses: The addresses of the links.
    """
    if incident.change == "opened":
        return current_message(incident, None, addresses)
    verb = "ended" if incident.change == "resolved" else f"got {incident.change}"
    title = f"{incident.title} {verb} on {incident.last_day}"
    return Message(title, (_severity(incident), *incident.lines[:_FACTS_OF_A_CHANGE]), _links(incident, addresses))


def current_message(incident: Incident, acknowledged: Acknowledgement | None, addresses: Addresses) -> Message:
    """Return the first message of an incident with its current state.

    Args:
        incident: The newest state of the incident.
        acknowledged: The newest acknowledgement; None if there is none.
        addresses: The addresses of the links.
    """
    state = f"open on {incident.last_day}" if incident.open else f"ended on {incident.last_day}"
    head = [f"Model version {incident.model_version}; {state}. {_severity(incident)}"]
    if acknowledged:
        head.append(_acknowledged(acknowledged))
    return Message(incident.title, (*head, *incident.lines), _links(incident, addresses))


def acknowledgement_message(incident: Incident, acknowledged: Acknowledgement) -> Message:
    """Return the message about an acknowledgement.

    Args:
        incident: The incident.
        acknowledged: The acknowledgement.
    """
    return Message(f"{incident.title}: acknowledged", (_acknowledged(acknowledged),))


def _acknowledged(acknowledged: Acknowledgement) -> str:
    return f"Acknowledged by {acknowledged.user}{': ' if acknowledged.note else '.'}{acknowledged.note}"


def _severity(incident: Incident) -> str:
    unit = "the limit" if incident.kind == "decay" else "the natural variation"
    return f"Severity {incident.severity:.1f} times {unit}; largest {incident.peak:.1f}."


def _links(incident: Incident, addresses: Addresses) -> tuple[tuple[str, str], ...]:
    return ("Report", addresses.report(incident.report)), ("Runbook", addresses.section(incident.kind))
