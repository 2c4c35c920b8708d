"""What makes customers of the simulated business leave, raises the risk that its model sees.

Events are changed, not features: features that belong together then change together, as they would for a customer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from include.features.compile import compute_features
from include.lake import Lake
from tests.behaviour.interventions import Change, complaints, copied, last_charge_fails, sessions_kept, twins
from tests.behaviour.worlds import Trained

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # a world is made on the way

NOISE = 0.01
"""A greater dose may lower the mean risk by this much: beyond two failures or complaints nothing more is at stake."""


@dataclass(frozen=True)
class Scored:
    customers: list[str]
    features: pa.Table
    risk: NDArray[np.float64]


@pytest.fixture(scope="module")
def score(subscription: Trained) -> Callable[[Lake], Scored]:
    """Build the features of the last day from a lake, and ask the model."""

    def scored(lake: Lake) -> Scored:
        rows = compute_features(subscription.project, lake, [subscription.last_day])
        features = rows.select(subscription.bundle.contract.feature_names)
        return Scored(rows["customer_id"].to_pylist(), features, subscription.bundle.predict(features).astype(float))

    return scored


@pytest.fixture(scope="module")
def as_it_was(subscription: Trained, score: Callable[[Lake], Scored]) -> Scored:
    return score(subscription.lake)


@pytest.mark.parametrize(
    "doses",
    [
        pytest.param([complaints(7), complaints(12, 7, 3)], id="complaints"),
        pytest.param(
            [sessions_kept(0.5, of_days=14), sessions_kept(0, of_days=14), sessions_kept(0, of_days=30)],
            id="fewer sessions",
        ),
        pytest.param([last_charge_fails(retries=0), last_charge_fails(retries=2)], id="payments fail"),
    ],
)
def test_intervention_raises_the_mean_risk(
    doses: list[Change], subscription: Trained, score: Callable[[Lake], Scored], as_it_was: Scored, tmp_path: Path
) -> None:
    means = [as_it_was.risk.mean()]
    for number, dose in enumerate(doses):
        lake = copied(subscription.lake, tmp_path / str(number))
        dose(lake, subscription.last_day, as_it_was.customers)
        changed = score(lake)
        assert changed.customers == as_it_was.customers
        assert np.median(changed.risk - as_it_was.risk) >= 0
        assert changed.risk.mean() > means[0]
        assert changed.risk.mean() > means[-1] - NOISE
        means.append(changed.risk.mean())
    print("mean risk as it was, and by dose:", np.round(means, 4))
    assert means[-1] > means[0] + NOISE


def test_equal_histories_have_equal_features_and_risk(
    subscription: Trained, score: Callable[[Lake], Scored], as_it_was: Scored, tmp_path: Path
) -> None:
    chosen = as_it_was.customers[::20]
    lake = copied(subscription.lake, tmp_path)
    twins(chosen)(lake, subscription.last_day, as_it_was.customers)
    found = score(lake)
    place = {customer: at for at, customer in enumerate(found.customers)}
    assert len(place) == len(as_it_was.customers) + len(chosen)
    originals = [place[customer] for customer in chosen]
    copies = [place[f"twin-{customer}"] for customer in chosen]
    assert found.features.take(copies).equals(found.features.take(originals))
    assert np.array_equal(found.risk[copies], found.risk[originals])
    assert np.array_equal(found.risk[[place[customer] for customer in as_it_was.customers]], as_it_was.risk)
