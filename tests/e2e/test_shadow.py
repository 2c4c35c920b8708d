"""A second version that scores the requests of the serving one, deployed through a real scheduler."""

from __future__ import annotations

import pytest

from benchmarks.traffic import Traffic
from include.lake import connect, open_lake
from include.lake.table_names import PREDICTIONS_TABLE
from include.serving.deployment.state import ServingState
from include.serving.prediction_log.collect import collect_predictions
from include.settings import Settings
from include.training.release.registry import Registry
from local.demo import NEXT_DAY
from local.supervision import wait_until
from tests.e2e.conftest import RunningStack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2000)]


def test_a_shadow_scores_the_requests_of_the_serving_version(demo: RunningStack, versions: tuple[str, str]) -> None:
    settings = demo.stack.settings
    first, second = versions
    bundles = {first: Registry(settings).bundle(first)}
    with Traffic(settings.serving.url, bundles, clients=3, pause_seconds=0.2) as traffic:
        conf = {"day": str(NEXT_DAY), "model_version": second, "role": "shadow"}
        demo.wait_for(demo.client.trigger("churn_deploy", str(NEXT_DAY), conf))
        traffic.wait_for_answers(20)
        assert wait_until(lambda: (first, second) in served_and_shadow(settings), 120)
    assert (dict(traffic.errors), dict(traffic.dropped)) == ({}, {})
    assert ServingState(settings.serving_dir).served().model_version == first


def served_and_shadow(settings: Settings) -> set[tuple[str, str | None]]:
    """Return the pairs of serving version and shadow version of the logged predictions."""
    collect_predictions(settings)
    table = open_lake(settings).table(PREDICTIONS_TABLE)
    rows = table.scan(connect(), table.days()).select("model_version", "shadow_version").distinct().to_pyarrow()
    return {(row["model_version"], row["shadow_version"]) for row in rows.to_pylist()}
