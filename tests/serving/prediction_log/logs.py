"""Logs that tests write: groups of answers, and what became of them."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence
from pathlib import Path

from include.lake import open_lake
from include.lake.table_names import PREDICTIONS_TABLE
from include.serving.prediction_log.answers import Answers
from include.serving.prediction_log.log import open_prediction_log
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
) -> Answers:
    matrix = bundle.contract.encode(synthetic_columns(len(customers), seed))
    days = [features_day] * len(customers) if features_day else None
    return Answers(customers, matrix, bundle.predict_matrix(matrix), at, days)


def log_all(bundle: Bundle, settings: Settings, *groups: Answers, version: str = "7") -> None:
    """Log as a server does that starts, answers, and ends in good order."""

    async def server() -> None:
        log = open_prediction_log(bundle.contract, version, f"{version}-abc", settings)
        await log.start()
        for answers in groups:
            log.append(answers)
        await log.close()

    asyncio.run(server())


def rows_of(settings: Settings, *days: dt.date) -> list[dict[str, object]]:
    rows = open_lake(settings).table(PREDICTIONS_TABLE).read(days or (TODAY,))
    return sorted(rows.to_pylist(), key=lambda row: (row["answered_at"], row["customer_id"]))


def customers_of(settings: Settings, *days: dt.date) -> list[str]:
    return [str(row["customer_id"]) for row in rows_of(settings, *days)]


def parts_of(settings: Settings) -> list[Path]:
    return sorted((settings.home / "prediction_log").glob("*/dt=*/*"))
