"""The messages of alerts. The DAGs deliver them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_FEATURES_SHOWN = 5
_ENDED = "The process of the task was killed, or its machine was lost."


@dataclass(frozen=True)
class Message:
    """The message of an alert.

    Attributes:
        title: The headline.
        lines: The details, one fact per line.
    """

    title: str
    lines: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The message in one line, for logs and notifications."""
        return " | ".join(" ".join(part.split()) for part in (self.title, *self.lines))

    @property
    def blocks(self) -> list[dict[str, Any]]:
        """The message as Slack blocks."""
        header = {"type": "header", "text": {"type": "plain_text", "text": self.title[:150]}}
        if not self.lines:
            return [header]
        details = "\n".join(f"• {_escape(line)}" for line in self.lines)
        return [header, {"type": "section", "text": {"type": "mrkdwn", "text": details[:3000]}}]


def run_failure(dag_id: str, run_id: str, failures: Mapping[str, str | None], reason: str, url: str) -> Message:
    """Return the alert for a failed DAG run.

    Args:
        dag_id: The DAG.
        run_id: The run.
        failures: The errors of the failed tasks, by task, as sentences without personal data; None for a task whose
            process ended without an error, for example because it was killed.
        reason: Airflow's reason for the end of the run, stated if no task failed.
        url: The address of the run.
    """
    found = [f"{task}: {error or _ENDED}" for task, error in failures.items()] or [f"Reason: {reason}"]
    title = f"{dag_id} failed: {', '.join(failures)}" if failures else f"{dag_id} failed"
    return Message(title, (f"Run {run_id}", *found, f"Log: {url}"))


def monitoring_alert(result: dict[str, Any]) -> Message | None:
    """Return the alert for a day with drift or decay; None for any other day.

    Every day with the verdict has an alert, not only the first of consecutive days.

    Args:
        result: The result of ``monitor_day``.
    """
    drift, performance = result["drift"], result["performance"]
    problems = [name for name, found in (("drift", drift["drifted"]), ("decay", performance["decayed"])) if found]
    if not problems:
        return None
    lines = [f"Model version {result['model_version']}, trained through {result['trained_through']}"]
    if drift["drifted"]:
        lines += [drift["reason"], *result["root_causes"]]
        lines += [
            f"{row['name']}: {row['reason']}"
            for row in drift["features"][: drift["drifted_features"]][:_FEATURES_SHOWN]
        ]
        lines.append(drift["promise"])
    if performance["decayed"]:
        lines.append(performance["reason"])
    lines.append(f"Report: {result['report']}")
    return Message(f"Churn model, {result['project']}, {result['day']}: {' and '.join(problems)}", tuple(lines))


def _escape(text: str) -> str:
    # Slack interprets these characters as markup.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
