"""Ten changes of the model and a rollback under traffic, without an error or a dropped request."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.traffic import Traffic
from include.lake import open_lake
from include.lake.table_names import PREDICTIONS_TABLE
from include.serving.deployment import deploy
from include.serving.deployment.rollout import roll_out
from include.serving.deployment.state import BentoReference
from include.serving.prediction_log.collect import collect_predictions
from include.settings import Settings
from include.training.model.bundle import Bundle
from tests.serving.deployment.runners import running, served_bentos, servers_of, wait_until

pytestmark = pytest.mark.slow

SWAPS = 10


def test_ten_swaps_and_a_rollback_drop_no_request(
    make_settings: Callable[..., Settings],
    bundle: Bundle,
    next_bundle: Bundle,
    bento: BentoReference,
    next_bento: BentoReference,
) -> None:
    settings = make_settings(overlap_seconds=0.2)
    bentos = [bento, next_bento]
    with running(settings) as runner:
        roll_out(bentos[0], settings)
        # Half as many requests as in the benchmark: the processors are for the servers that start.
        with Traffic(settings.serving.url, {"7": bundle, "8": next_bundle}, pause_seconds=0.1) as traffic:
            for swap in range(SWAPS):
                roll_out(bentos[(swap + 1) % 2], settings)
                traffic.wait_for_answers(100)
            assert deploy.roll_back(None, settings)["model_version"] == "8"
            traffic.wait_for_answers(100)
        assert (dict(traffic.errors), dict(traffic.dropped)) == ({}, {})
        assert min(traffic.answers["7"], traffic.answers["8"]) > 500
        wait_until(lambda: served_bentos(settings) == {next_bento.bento})
        # A server that has ended remains a child of the runner until the runner's next check.
        wait_until(lambda: len(runner.children()) == len(servers_of(settings)) == 1)
        runner.terminate()
        assert runner.wait(300) == 0
    assert servers_of(settings) == []
    collect_predictions(settings)
    predictions = open_lake(settings).table(PREDICTIONS_TABLE)
    customers = predictions.read(predictions.days(), ["customer_id"])["customer_id"]
    assert set(customers.to_pylist()) == {"traffic"}, "the runner's requests are not logged"
