"""What alerts say. These functions only build messages; the DAGs deliver them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_WORST = 5


@dataclass(frozen=True)
class Message:
    """One alert.

    Attributes:
        title: The headline.
        lines: The details, one fact each.
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
    """Return the alert that a task failed for good.

    Args:
        dag_id: Its DAG.
        task_id: The task.
        run_id: The run.
        reason: Why, in a sentence without personal data.
        log_url: Where its log can be read.
    """
    lines = [f"Run {run_id}", reason, *([f"Log: {log_url}"] if log_url else [])]
    return Message(f"Task {dag_id}.{task_id} failed", tuple(lines))


def monitoring_alert(result: dict[str, Any]) -> Message | None:
    """Return the alert that a day's monitoring calls for; None when nothing is wrong.

    Args:
        result: What ``monitor_day`` returned.
    """
    drift, performance = result["drift"], result["performance"]
    problems = [name for name, found in (("drift", drift["drifted"]), ("decay", performance["decayed"])) if found]
    if not problems:
        return None
    lines = [f"Model version {result['model_version']}, trained through {result['trained_through']}"]
    if drift["drifted"]:
        lines += [drift["reason"], *(f"{row['name']}: {row['reason']}" for row in _worst(drift["features"]))]
    if performance["decayed"]:
        lines.append(performance["reason"])
    lines.append(f"Report: {result['report']}")
    return Message(f"Churn model, {result['project']}, {result['day']}: {' and '.join(problems)}", tuple(lines))


def _worst(features: list[dict[str, Any]]) -> list[dict[str, Any]]:
    drifted = [row for row in features if row["drifted"]]
    return sorted(drifted, key=lambda row: -row["severity"])[:_WORST]


def _escape(text: str) -> str:
    # Slack reads these three as markup.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
