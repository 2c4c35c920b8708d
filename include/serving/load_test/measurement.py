"""What a run of load has seen: every latency, and the errors by their kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Measurement:
    """Answers to a closed loop of requests.

    Attributes:
        connections: How many requests were on their way at any time.
        seconds: How long new requests were sent.
        answered_at: When each good answer (2xx) was complete, in seconds since the start, shape (n,).
        latencies: From a request's first byte sent to its answer's last byte, in seconds, shape (n,).
        errors: How many requests failed, by kind.
        cpu_share: The processor time of the process that made the load, as a share of one core.
    """

    connections: int
    seconds: float
    answered_at: NDArray[np.float64]
    latencies: NDArray[np.float64]
    errors: dict[str, int]
    cpu_share: float

    @property
    def failed(self) -> int:
        """How many requests failed."""
        return sum(self.errors.values())

    @property
    def per_second(self) -> float:
        """Good answers per second, of those that came while requests were sent."""
        return float(np.count_nonzero(self.answered_at <= self.seconds)) / self.seconds

    def percentile_ms(self, percent: float) -> float:
        """Return the latency in milliseconds that ``percent`` of all requests did not exceed.

        A request that failed counts as never answered: when too many failed, and when there was no answer at all, the
        percentile is infinite.

        Examples:
            >>> run = Measurement(1, 1.0, np.array([0.1, 0.2, 0.3]), np.array([0.1, 0.1, 0.1]), {"HTTP 503": 1}, 0.1)
            >>> run.percentile_ms(50), run.percentile_ms(99)
            (100.0, inf)
        """
        requests = len(self.latencies) + self.failed
        rank = max(int(np.ceil(requests * percent / 100)), 1)
        if rank > len(self.latencies):
            return float("inf")
        return float(np.partition(self.latencies, rank - 1)[rank - 1]) * 1000

    def timeline(self, buckets: int = 60) -> list[dict[str, Any]]:
        """Return good answers per second and the median and 99th percentile of their latency over time.

        Args:
            buckets: Into how many equal parts the time is cut, at most; a part is a second at least.
        """
        width = max(1.0, self.seconds / buckets)
        part = (self.answered_at // width).astype(int)
        return [self._part(part == number, number * width, width) for number in range(int(self.seconds // width))]

    def _part(self, within: NDArray[np.bool_], start: float, width: float) -> dict[str, Any]:
        latencies = self.latencies[within] * 1000
        p50, p99 = np.percentile(latencies, [50, 99]) if len(latencies) else (None, None)
        return {"second": start, "per_second": len(latencies) / width, "p50_ms": p50, "p99_ms": p99}
