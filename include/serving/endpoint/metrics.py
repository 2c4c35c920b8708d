"""The endpoint's metrics, and ``GET /metrics``.

Label values come from the contract and from this package only: requests cannot add series.
"""

from __future__ import annotations

import os
from typing import Literal

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

PREDICTIONS = Counter("ml_predictions_total", "Predictions returned.", ["prediction", "model_version"])
LATENCY = Histogram(
    "ml_prediction_latency_seconds",
    "Time from a valid request to its response.",
    ["model_version"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
)
BATCH_LATENCY = Histogram(
    "ml_batch_latency_seconds",
    "Time from the arrival of a batch to its response.",
    ["model_version"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
ERRORS = Counter("ml_prediction_errors_total", "Error responses.", ["kind"])
OUT_OF_RANGE = Counter("ml_feature_out_of_range_total", "Values outside the contract's range.", ["feature"])

SERVER_ERRORS = ("internal", "online_store_unavailable", "overloaded", "too_many_connections")
"""The kinds of errors that are not the fault of a client. They are exported from the start, with the value 0."""


class PredictionMetrics:
    """The metrics of one model. Labels are resolved once, because resolving a label takes as long as counting.

    Args:
        model_version: The label of all metrics.
    """

    def __init__(self, model_version: str) -> None:
        self._predictions = {decision: PREDICTIONS.labels(decision, model_version) for decision in ("churn", "retain")}
        self._latency = LATENCY.labels(model_version)
        for kind in SERVER_ERRORS:
            ERRORS.labels(kind)

    def count(self, decision: Literal["churn", "retain"], number: int = 1) -> None:
        """Count predictions.

        Args:
            decision: The prediction.
            number: The number of customers with this prediction.
        """
        self._predictions[decision].inc(number)

    def observe_latency(self, seconds: float) -> None:
        """Record the duration of one request."""
        self._latency.observe(seconds)


def exposition() -> bytes:
    """Return all metrics in Prometheus' text format, summed over the workers that share a metrics folder."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
