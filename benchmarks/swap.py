"""Count errors and dropped requests during changes of the model: ``make bench NAME=swap``.

Sixteen clients send requests on new, busy and idle connections while two models are rolled out in turn: ten swaps and a
rollback, each with the steps of a deployment. The runner is a separate process, as in production.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.figures import print_figures
from benchmarks.local_stack import free_ports, running_runner
from benchmarks.serving_model import train_model
from benchmarks.traffic import Traffic
from include.serving.deployment import deploy
from include.serving.deployment.package import build_bento
from include.serving.deployment.rollout import roll_out
from include.settings import ServingSettings, Settings
from include.training.model.bundle import Bundle

SWAPS = 10
TREES = (60, 40)
_ANSWERS_BETWEEN = 200


def _bundles(folder: Path) -> dict[str, Bundle]:
    """Return two models by their version."""
    return {str(n): train_model(folder / str(trees), trees).bundle for n, trees in enumerate(TREES, start=1)}


def swap_under_traffic(folder: Path, swaps: int) -> dict[str, int | float]:
    """Swap two models, roll back once, and return the results of the clients.

    Args:
        folder: An empty folder.
        swaps: The number of swaps.
    """
    serving = ServingSettings(port=free_ports(1)[0], ready_timeout_seconds=300)
    settings = Settings(home=folder / "home", project="benchmark", serving=serving)
    bundles = _bundles(folder)
    bentos = [build_bento(bundle, version, settings.serving_dir) for version, bundle in bundles.items()]
    seconds = []
    with running_runner(settings):
        roll_out(bentos[0], settings)
        with Traffic(settings.serving.url, bundles) as traffic:
            for number in range(1, swaps + 1):
                began = time.perf_counter()
                roll_out(bentos[number % 2], settings)
                seconds.append(time.perf_counter() - began)
                traffic.wait_for_answers(_ANSWERS_BETWEEN)
            began = time.perf_counter()
            deploy.roll_back(None, settings)
            rollback_seconds = time.perf_counter() - began
            traffic.wait_for_answers(_ANSWERS_BETWEEN)
    return {
        "swaps": swaps,
        "rollbacks": 1,
        "clients": 16,
        "requests": traffic.sent,
        "errors": traffic.errors.total(),
        "dropped": traffic.dropped.total(),
        "median_swap_seconds": round(statistics.median(seconds), 2),
        "longest_swap_seconds": round(max(seconds), 2),
        "rollback_seconds": round(rollback_seconds, 2),
    }


def main() -> None:
    """Print the figures as one JSON object on the last line."""
    with tempfile.TemporaryDirectory(prefix="churnflow-") as folder:
        seen = swap_under_traffic(Path(folder), SWAPS)
    print_figures("swap", {name: seen[name] for name in ("swaps", "requests", "errors", "dropped")}, seen)


if __name__ == "__main__":
    main()
