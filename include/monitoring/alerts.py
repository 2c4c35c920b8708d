"""The messages of alerts. The DAGs deliver them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_FEATURES_SHOWN = 5


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


def task_failure(dag_id: str, task_id: str, run_id: str, reason: str, log_url: str | None) -> Message:
    """Return the alert for a task that failed after its last retry.

    Args:
        dag_id: The DAG of the task.
        task_id: The task.
        run_id: The DAG run.
        reason: The reason, in a sentence without personal data.
        log_url: The address of the task's log; None if there is none.
    """
    lines = [f"Run {run_id}", reason, *([f"Log: {log_url}"] if log_url else [])]
    return Message(f"Task {dag_id}.{task_id} failed", tuple(lines))


def monitoring_alert(result: dict[str, Any]) -> Message | None:
    """Return the alert for a day with drift or decay; None for any other day.

    Args:
        result: The result of ``monitor_day``.
    """
    drift, performance = result["drift"], result["performance"]
    problems = [name for name, found in (("drift", drift["drifted"]), ("decay", performance["decayed"])) if found]
    if not problems:
        return None
    lines = [f"Model version {result['model_version']}, trained through {result['trained_through']}"]
    if drift["drifted"]:
        lines += [drift["reason"], *(f"{row['name']}: {row['reason']}" for row in _most_severe(drift["features"]))]
    if performance["decayed"]:
        lines.append(performance["reason"])
    lines.append(f"Report: {result['report']}")
    return Message(f"Churn model, {result['project']}, {result['day']}: {' and '.join(problems)}", tuple(lines))


def _most_severe(features: list[dict[str, Any]]) -> list[dict[str, Any]]:
    drifted = [row for row in features if row["drifted"]]
    return sorted(drifted, key=lambda row: -row["severity"])[:_FEATURES_SHOWN]


def _escape(text: str) -> str:
    # Slack interprets these characters as markup.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
