"""Two days of a time-lapse through a real scheduler, with a deployment between them."""

import time

import pytest
from rich.console import Console

from benchmarks.timelapse.requests import Requests
from benchmarks.timelapse.simulation import listed_customers, simulate_days
from include.days import DayRange
from include.lake import open_lake
from include.lake.table_names import SCORES_TABLE
from include.monitoring.results import result_days
from local.demo import NEXT_DAY, Demo
from tests.e2e.conftest import RunningStack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2000)]

DAYS = DayRange.parse("2017-12-23", "2017-12-24")


def test_simulated_days_are_scored_and_monitored_without_a_failed_request(
    demo: RunningStack, versions: tuple[str, str]
) -> None:
    settings = demo.stack.settings
    runs = Demo(demo.client, Console(quiet=True), time.monotonic() + 1200)
    runs.prepare()
    try:
        with Requests(settings.serving.url, listed_customers(settings, NEXT_DAY)) as requests:
            first = simulate_days(runs, settings, DayRange.single(DAYS.first), requests)
            deployed = {"day": str(DAYS.first), "model_version": versions[1]}
            demo.wait_for(demo.client.trigger("churn_deploy", str(DAYS.first), deployed))
            last = simulate_days(runs, settings, DayRange.single(DAYS.last), requests)
    finally:
        demo.client.pause("churn_monitor")
    simulated = [(day.day, day.model_version) for day in (*first, *last)]
    assert simulated == list(zip(DAYS, versions, strict=True))
    assert requests.failed == {}
    assert set(requests.answers) == set(versions)
    assert set(DAYS) <= set(open_lake(settings).table(SCORES_TABLE).days())
    assert set(DAYS) <= set(result_days(settings.reports_dir))
