"""The reason of a training, from the events that triggered its run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dags.wiring.assets import request_reason

pytestmark = pytest.mark.airflow


@pytest.mark.parametrize(
    ("extras", "expected"),
    [
        ([{"day": "2017-12-22", "reason": "due"}], "due"),
        ([{"reason": "due"}, {"reason": "decay: fell."}, {"reason": "due"}], "due; decay: fell."),
        ([{"day": "2017-12-22"}, None], "by hand"),
        ([], "by hand"),
    ],
)
def test_reason_is_that_of_the_triggering_events(extras: list[dict[str, Any] | None], expected: str) -> None:
    events = {"asset": [SimpleNamespace(extra=extra) for extra in extras]}
    assert request_reason({"triggering_asset_events": events}) == expected
    assert request_reason({}) == "by hand"
