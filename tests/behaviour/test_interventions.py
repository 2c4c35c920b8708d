"""Events that cause churn in the simulated business raise the predicted risk.

The tests change events instead of features, so that dependent features change together, as they do for a customer.
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

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # includes the generation of the data

NOISE = 0.01
"""Tolerated decrease of the mean risk at a higher dose: the effect saturates after two failures or complaints."""


@dataclass(frozen=True)
class Scored:
    customers: list[str]
    features: pa.Table
    risk: NDArray[np.float64]


@pytest.fixture(scope="module")
def score(subscription: Trained) -> Callable[[Lake], Scored]:
    """Return a function that computes the features of the last day from a lake and predicts the risk."""

    def scored(lake: Lake) -> Scored:
        rows = compute_features(subscription.project, lake, [subscription.last_day])
        features = rows.select(subscription.bundle.contract.feature_names)
        return Scored(rows["customer_id"].to_pylist(), features, subscription.bundle.predict(features).astype(float))

    return scored


@pytest.fixture(scope="module")
def unchanged(subscription: Trained, score: Callable[[Lake], Scored]) -> Scored:
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
    doses: list[Change], subscription: Trained, score: Callable[[Lake], Scored], unchanged: Scored, tmp_path: Path
) -> None:
    means = [unchanged.risk.mean()]
    for number, dose in enumerate(doses):
        lake = copied(subscription.lake, tmp_path / str(number))
        dose(lake, subscription.last_day, unchanged.customers)
        changed = score(lake)
        assert changed.customers == unchanged.customers
        assert np.median(changed.risk - unchanged.risk) >= 0
        assert changed.risk.mean() > means[0]
        assert changed.risk.mean() > means[-1] - NOISE
        means.append(changed.risk.mean())
    print("mean risk, unchanged and by dose:", np.round(means, 4))
    assert means[-1] > means[0] + NOISE


def test_equal_histories_have_equal_features_and_risk(
    subscription: Trained, score: Callable[[Lake], Scored], unchanged: Scored, tmp_path: Path
) -> None:
    chosen = unchanged.customers[::20]
    lake = copied(subscription.lake, tmp_path)
    twins(chosen)(lake, subscription.last_day, unchanged.customers)
    found = score(lake)
    place = {customer: at for at, customer in enumerate(found.customers)}
    assert len(place) == len(unchanged.customers) + len(chosen)
    originals = [place[customer] for customer in chosen]
    copies = [place[f"twin-{customer}"] for customer in chosen]
    assert found.features.take(copies).equals(found.features.take(originals))
    assert np.array_equal(found.risk[copies], found.risk[originals])
    assert np.array_equal(found.risk[[place[customer] for customer in unchanged.customers]], unchanged.risk)
