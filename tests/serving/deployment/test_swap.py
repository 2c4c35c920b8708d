"""Changing the model under traffic: nobody is refused, dropped, or answered by a model that is not in service."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.traffic import Traffic
from include.lake import open_lake
from include.lake.table_names import PREDICTIONS_TABLE
from include.serving.deployment import deploy
from include.serving.deployment.package import build_bento
from include.serving.deployment.rollout import roll_out
from include.serving.prediction_log.collect import collect_predictions
from include.settings import Settings
from include.training.model.bundle import Bundle
from tests.serving.conftest import train_bundle
from tests.serving.deployment.runners import generations_of, running, servers_of, wait_until

pytestmark = pytest.mark.slow

SWAPS = 10


def test_ten_swaps_and_a_rollback_drop_nothing(make_settings: Callable[..., Settings], bundle: Bundle) -> None:
    settings = make_settings(overlap_seconds=0.2)
    bundles = {"7": bundle, "8": train_bundle(seed=11)}
    bentos = [build_bento(one, version, settings.serving_dir) for version, one in bundles.items()]
    with running(settings) as runner:
        roll_out(bentos[0], settings)
        with Traffic(settings.serving.url, bundles) as traffic:
            for swap in range(SWAPS):
                roll_out(bentos[(swap + 1) % 2], settings)
                traffic.wait_for_answers(100)
            assert deploy.roll_back(None, settings)["model_version"] == "8"
            traffic.wait_for_answers(100)
        assert (dict(traffic.errors), dict(traffic.dropped)) == ({}, {})
        assert traffic.answers["7"] > 500
        assert traffic.answers["8"] > 500
        wait_until(lambda: generations_of(settings) == {bentos[1].bento})
        # A server that has ended is a child until the runner looks.
        wait_until(lambda: len(runner.children()) == len(servers_of(settings)) == 1)
        runner.terminate()
        assert runner.wait(30) == 0
    assert servers_of(settings) == []
    collect_predictions(settings)
    predictions = open_lake(settings).table(PREDICTIONS_TABLE)
    asked = predictions.read(predictions.days(), ["customer_id"])["customer_id"]
    assert set(asked.to_pylist()) == {"traffic"}, "what the runner asks is not logged"
