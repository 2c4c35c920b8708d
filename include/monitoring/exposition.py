"""Gauges in Prometheus' text format. Each gauge has the label ``project``."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Exposition:
    """Collects the values of one scrape.

    Args:
        project: The value of the label ``project``.
    """

    def __init__(self, project: str) -> None:
        self._project = project
        self._registry = CollectorRegistry()
        self._gauges: dict[str, Gauge] = {}

    def set(self, name: str, text: str, value: float | None, **labels: str) -> None:
        """Set one value. An unknown value is left out; it is not set to zero.

        Args:
            name: The name of the metric.
            text: Its description.
            value: The value; None if it is unknown.
            **labels: The labels besides ``project``, the same for all values of a metric.
        """
        if value is None:
            return
        if name not in self._gauges:
            self._gauges[name] = Gauge(name, text, ["project", *labels], registry=self._registry)
        self._gauges[name].labels(self._project, *labels.values()).set(value)

    def render(self) -> str:
        """Return all values in Prometheus' text format."""
        return generate_latest(self._registry).decode()
