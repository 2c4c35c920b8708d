"""Monitoring of served predictions, from a real prediction log."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from include.lake.table_names import FEATURES_TABLE, LABELS_TABLE, PREDICTIONS_TABLE
from include.monitoring.served import Served, monitor_served
from include.serving.prediction_log.collect import collect_predictions
from include.serving.prediction_log.predictions import Predictions
from include.training.model.bundle import Bundle
from include.training.model.reference_profile import SCORE, read_profile
from tests.monitoring.conftest import CUSTOMERS, Production, shift
from tests.serving.prediction_log.logs import log_all

pytestmark = pytest.mark.slow

SCORED, LATER = 15, 20
"""Indexes of two days in ``production.days``; the labels of the first day are known at the end of the second day."""


def answers(
    production: Production,
    day: dt.date,
    customers: int = CUSTOMERS,
    by_id: bool = False,
    hour: int = 12,
    bundle: Bundle | None = None,
) -> Predictions:
    """Return the deployed model's predictions for the first customers of gold, with the features of ``day``."""
    rows = production.lake.table(FEATURES_TABLE).read([day]).sort_by("customer_id").slice(0, customers)
    bundle = bundle or production.bundle
    matrix = bundle.contract.encode(rows.select(bundle.contract.feature_names))
    given = dt.datetime.combine(day + dt.timedelta(days=by_id), dt.time(hour), dt.UTC)
    days = [day] * rows.num_rows if by_id else None
    return Predictions(rows["customer_id"].to_pylist(), matrix, bundle.predict_matrix(matrix), given, days)


def serve(production: Production, groups: Sequence[Predictions], version: str = "1", shadow: str = "") -> None:
    settings = production.settings.model_copy(update={"shadow_bundle": shadow, "shadow_version": "2"})
    log_all(production.bundle, settings, *groups, version=version)
    collect_predictions(settings)


def served(production: Production, day: dt.date) -> Served:
    return monitor_served(production.lake, production.project, "1", day, read_profile(production.bundle))


def labels(production: Production, day: dt.date) -> dict[str, int]:
    rows = production.lake.table(LABELS_TABLE).read([day])
    return dict(zip(rows["customer_id"].to_pylist(), rows["churned"].to_pylist(), strict=True))


def test_day_without_predictions(production: Production) -> None:
    day = production.days[LATER]
    found = served(production, day)
    assert found.reason == f"The prediction log contains no predictions of {day}."
    assert (found.models, found.shadows, found.drift.drifted) == ((), (), None)
    assert found.performance.state == "not yet known"


def test_traffic_is_counted_by_model_and_request_type(production: Production) -> None:
    day, yesterday = production.days[LATER], production.days[LATER] - dt.timedelta(days=1)
    rows = production.lake.table(FEATURES_TABLE).read([day])
    production.lake.table(FEATURES_TABLE).replace(
        [yesterday], rows.set_column(0, "dt", pa.repeat(pa.scalar(yesterday, pa.date32()), rows.num_rows))
    )
    sent, stored = answers(production, day, 30), answers(production, yesterday, 20, by_id=True)
    serve(production, [sent, stored])
    serve(production, [answers(production, day, 10)], version="0")
    found = served(production, day)
    probabilities = np.concatenate([sent.probabilities, stored.probabilities])
    deployed, earlier = found.models
    assert (deployed.model_version, deployed.answers, deployed.by_id, deployed.with_features) == ("1", 50, 20, 30)
    assert deployed.mean_probability == pytest.approx(probabilities.mean())
    assert deployed.churn_share == np.mean(probabilities >= production.bundle.contract.threshold)
    assert (earlier.model_version, earlier.answers) == ("0", 10)
    assert found.reason == f"60 predictions on {day}: 20 by id, 40 with features."


def test_predictions_are_evaluated_once_their_labels_are_known(production: Production) -> None:
    scored = production.days[SCORED]
    given = answers(production, scored, 300)
    serve(production, [given])
    matured = scored + dt.timedelta(days=production.project.label.horizon_days)
    before = served(production, matured - dt.timedelta(days=1)).performance
    assert before.state == "not yet known"
    performance = served(production, matured).performance
    (after,) = performance.models
    known = labels(production, scored)
    churned = [known[customer] for customer in given.customer_ids]
    assert (performance.state, after.customers) == ("known", 300)
    assert after.metrics["auc"].value == pytest.approx(roc_auc_score(churned, given.probabilities))
    assert (after.first_day, after.last_day) == (str(scored), str(scored))


def test_prediction_by_id_refers_to_the_day_of_its_features(production: Production) -> None:
    scored = production.days[SCORED]
    serve(production, [answers(production, scored, by_id=True)])
    matured = scored + dt.timedelta(days=production.project.label.horizon_days)
    (performance,) = served(production, matured).performance.models
    assert (performance.first_day, performance.customers) == (str(scored), CUSTOMERS)


def test_latest_prediction_of_each_customer_is_evaluated(production: Production) -> None:
    scored = production.days[SCORED]
    first, last = answers(production, scored, hour=9), answers(production, scored, hour=17)
    wrong = Predictions(first.customer_ids, first.matrix, 1 - first.probabilities, first.answered_at)
    serve(production, [last])
    serve(production, [wrong])
    matured = scored + dt.timedelta(days=production.project.label.horizon_days)
    (performance,) = served(production, matured).performance.models
    known = labels(production, scored)
    churned = [known[customer] for customer in last.customer_ids]
    assert performance.customers == CUSTOMERS
    assert performance.metrics["auc"].value == pytest.approx(roc_auc_score(churned, last.probabilities))


def test_predictions_of_an_earlier_model_are_not_evaluated(production: Production) -> None:
    scored = production.days[SCORED]
    serve(production, [answers(production, scored)], version="0")
    matured = scored + dt.timedelta(days=production.project.label.horizon_days)
    assert served(production, matured).performance.state == "not yet known"
    assert served(production, scored).drift.drifted is None


def test_customers_of_the_training_data_have_not_drifted(production: Production) -> None:
    learned = production.bundle.contract.trained_through
    serve(production, [answers(production, learned)])
    found = served(production, learned).drift
    assert (found.customers, found.drifted) == (CUSTOMERS, ())


def test_customers_unlike_the_training_data_have_drifted(production: Production) -> None:
    day = production.days[LATER]
    shift(production, day, "days_since_purchase", 900.0)
    serve(production, [answers(production, day)])
    assert served(production, day).drift.drifted == ("days_since_purchase", SCORE)


def test_few_customers_are_not_compared(production: Production) -> None:
    day = production.days[LATER]
    serve(production, [answers(production, day, 99)])
    assert served(production, day).drift.drifted is None


def test_features_that_are_not_logged_are_not_compared(production: Production) -> None:
    day = production.days[LATER]
    serve(production, [answers(production, day)])
    log = production.settings.serving.log.model_copy(update={"features": False})
    serving = production.settings.serving.model_copy(update={"log": log})
    production.settings = production.settings.model_copy(update={"serving": serving})
    serve(production, [answers(production, day, hour=18)])
    found = served(production, day).drift
    assert (found.customers, found.drifted) == (CUSTOMERS, ())


def test_shadow_is_compared_with_the_model_that_answered(production: Production) -> None:
    scored, bundle = production.days[SCORED], production.bundle
    folder = production.settings.home / "shadow"
    # Another threshold gives different decisions for the same probabilities.
    contract = bundle.contract.model_copy(update={"threshold": 0.9})
    Bundle(contract, bundle.booster).save(folder)
    given = answers(production, scored)
    serve(production, [given], shadow=str(folder))
    matured = scored + dt.timedelta(days=production.project.label.horizon_days)
    (on_the_day,) = served(production, scored).shadows
    threshold = bundle.contract.threshold
    assert (on_the_day.model_version, on_the_day.shadow_version, on_the_day.rows) == ("1", "2", CUSTOMERS)
    assert on_the_day.mean_absolute_difference == 0
    assert on_the_day.correlation == pytest.approx(1)
    assert on_the_day.decisions_that_differ == np.sum((given.probabilities >= threshold) & (given.probabilities < 0.9))
    assert (on_the_day.labelled_rows, on_the_day.auc) == (0, None)

    serve(production, [answers(production, matured)], shadow=str(folder))
    (later,) = served(production, matured).shadows
    known = labels(production, scored)
    auc = roc_auc_score([known[customer] for customer in given.customer_ids], given.probabilities)
    assert (later.labelled_rows, later.auc, later.shadow_auc) == (CUSTOMERS, pytest.approx(auc), pytest.approx(auc))


def test_predictions_equal_the_rows_of_the_lake(production: Production) -> None:
    day = production.days[LATER]
    serve(production, [answers(production, day, 5)])
    assert production.lake.table(PREDICTIONS_TABLE).read([day]).num_rows == 5
