"""Helpers that write a prediction log and read the lake's copy of it."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from include.lake import open_lake
from include.lake.table_names import PREDICTIONS_TABLE
from include.serving.prediction_log.log import PredictionLog, open_prediction_log
from include.serving.prediction_log.predictions import Predictions
from include.settings import ServingSettings, Settings
from include.training.model.bundle import Bundle
from tests.serving.conftest import synthetic_columns

NOON = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
TODAY = NOON.date()
PROJECT = "synthetic"


def settings_in(home: Path, shadow_bundle: str = "", **log: object) -> Settings:
    serving = ServingSettings.model_validate({"log": {"flush_seconds": 0.01} | log})
    return Settings(home=home, project=PROJECT, serving=serving, shadow_bundle=shadow_bundle, shadow_version="8")


def group(
    bundle: Bundle,
    customers: Sequence[str],
    at: dt.datetime = NOON,
    seed: int = 5,
    features_day: dt.date | None = None,
) -> Predictions:
    matrix = bundle.contract.encode(synthetic_columns(len(customers), seed))
    days = [features_day] * len(customers) if features_day else None
    return Predictions(customers, matrix, bundle.predict_matrix(matrix), at, days)


@asynccontextmanager
async def running_log(bundle: Bundle, settings: Settings, version: str = "7") -> AsyncIterator[PredictionLog]:
    """Run the log of a server process, and close it as a server does at its end."""
    log = open_prediction_log(bundle.contract, version, f"{version}-abc", settings)
    await log.start()
    yield log
    await log.close()


def log_all(bundle: Bundle, settings: Settings, *groups: Predictions, version: str = "7") -> None:
    """Log ``groups`` as one server process."""

    async def serve() -> None:
        async with running_log(bundle, settings, version) as log:
            for predictions in groups:
                log.append(predictions)

    asyncio.run(serve())


def rows_of(settings: Settings, *days: dt.date) -> list[dict[str, object]]:
    rows = open_lake(settings).table(PREDICTIONS_TABLE).read(days or (TODAY,))
    return sorted(rows.to_pylist(), key=lambda row: (row["answered_at"], row["customer_id"]))


def customers_of(settings: Settings, *days: dt.date) -> list[str]:
    return [str(row["customer_id"]) for row in rows_of(settings, *days)]


def delivered(settings: Settings) -> list[Path]:
    return sorted((settings.home / "prediction_log").glob("*/dt=*/*"))
