"""A local stack in a scratch home, with a served model and a receiver of Slack messages, for ``kills.py``."""

from __future__ import annotations

import datetime as dt
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import xgboost as xgb

from benchmarks.local_stack import running_stack
from benchmarks.slack_receiver import Fault, SlackReceiver, receiving
from include.days import DayRange
from include.ingest import ingest_days
from include.lake import open_lake
from include.lake.table_names import FEATURES_TABLE
from include.projects import load_project
from include.projects.training import LeakageLimits
from include.settings import Settings
from include.training.evaluation.leakage import LEAKAGE_FILE, LeakageReport
from include.training.model.bundle import Bundle, Sample
from include.training.model.contract import FeatureContract, ModelContract
from include.training.release.registry import Registry
from include.training.release.tracking import log_model, open_experiment
from local.client import AirflowClient
from local.grocery_export import export
from local.stack import Stack

DAYS = DayRange.parse("2017-12-11", "2017-12-18")
"""The days in gold. The files of the next day are delivered, too."""
NEXT_DAY = DAYS.last + dt.timedelta(days=1)

MLFLOW_SECONDS = 5
"""The time-out of a request to MLflow in the stack."""

_FIRST_FAULTS: tuple[Fault, ...] = ("429", "500")
"""The faults of the receiver's first answers."""
_SAMPLES = 5


@dataclass(frozen=True)
class ScratchStack:
    """A running stack with two registered versions of a model, neither of which is deployed.

    Attributes:
        stack: The stack.
        client: The client of its Airflow.
        receiver: The receiver of its messages.
        settings: The settings of its deployment.
        versions: The two versions; the first has the alias ``champion``.
    """

    stack: Stack
    client: AirflowClient
    receiver: SlackReceiver
    settings: Settings
    versions: tuple[str, str]


@contextmanager
def scratch_stack(extra: Mapping[str, str] | None = None) -> Iterator[ScratchStack]:
    """Start a stack on free ports in a scratch home, prepare gold and two model versions, and stop it at the end.

    Args:
        extra: Further variables of the stack's processes.
    """
    with tempfile.TemporaryDirectory(prefix="churnflow-kills-") as name, receiving(_FIRST_FAULTS) as receiver:
        variables = {
            "CHURN_SERVING__REASONS_FOR": "0",
            "CHURN_MLFLOW__TIMEOUT_SECONDS": str(MLFLOW_SECONDS),
            "CHURN_MLFLOW__RETRIES": "0",
            "AIRFLOW_CONN_SLACK_CHURN": json.dumps(
                {"conn_type": "slackwebhook", "host": receiver.webhook, "password": "T/B/X"}
            ),
            **(extra or {}),
        }
        with running_stack(Path(name), "grocery", variables) as stack:
            client = AirflowClient(stack.airflow_url, password=stack.admin_password)
            try:
                yield ScratchStack(stack, client, receiver, stack.settings, _prepare(stack.settings))
            finally:
                client.close()


def _prepare(settings: Settings) -> tuple[str, str]:
    export(Path(settings.landing_uri) / settings.project, DayRange(DAYS.first, NEXT_DAY))
    ingest_days(settings, DAYS)
    bundle = _small_model(settings)
    registry = Registry(settings)
    open_experiment(settings, registry.name)
    first, second = (_register(bundle, registry) for _ in range(2))
    registry.set_alias("champion", first)
    return first, second


def _small_model(settings: Settings) -> Bundle:
    """Return a model, trained on the first day in gold, that predicts whether the first feature is above average."""
    project = load_project(settings.project)
    contract = ModelContract(
        project=project.name,
        run_id="attacks",
        trained_through=DAYS.first,
        label=project.label.name,
        horizon_days=project.label.horizon_days,
        threshold=project.requirements.costs.threshold,
        features=tuple(
            FeatureContract(
                name=spec.name, dtype=spec.dtype, nullable=spec.nullable, categories=tuple(spec.categories) or None
            )
            for spec in project.features
        ),
    )
    lake = open_lake(settings)
    days = [day for day in lake.table(FEATURES_TABLE).days() if day in DAYS]
    rows = lake.table(FEATURES_TABLE).read(days[:1]).select(list(contract.feature_names))
    matrix = contract.encode(rows)
    label = np.nan_to_num(matrix[:, 0]) > np.nanmean(matrix[:, 0])
    booster = xgb.train({"objective": "binary:logistic", "nthread": 1, "max_depth": 3}, xgb.DMatrix(matrix, label), 20)
    bundle = Bundle(contract.model_copy(update={"trained_through": days[0]}), booster)
    samples = tuple(
        Sample(features=row, churn_probability=float(probability))
        for row, probability in zip(rows.slice(0, _SAMPLES).to_pylist(), bundle.predict_matrix(matrix), strict=False)
    )
    return Bundle(bundle.contract, booster, samples)


def _register(bundle: Bundle, registry: Registry) -> str:
    report = LeakageReport(findings=(), limits=LeakageLimits(), features=(), splits=(), skipped=())
    with mlflow.start_run() as run:
        mlflow.log_dict(report.model_dump(mode="json"), LEAKAGE_FILE)
        return registry.register(log_model(bundle), run.info.run_id, tags={})
