"""Build the deployment of ``0.1.0.json`` with the code and the environment of release 0.1.0.

``PYTHONPATH=. python PATH/build_0_1_0.py HOME`` in a checkout of that release writes the home, which ``record.py``
records. All values are invented.
"""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path

import mlflow
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from include.serving.deployment.pointer import BentoReference
from include.serving.deployment.transaction import Transaction
from include.serving.prediction_log.answers import Answers
from include.serving.prediction_log.parts import deliver_spool, part_store, spool_folder
from include.serving.prediction_log.writer import PartWriter
from include.training.data.prepare import prepare_dataset
from small_project import small_project

from include.days import DayRange
from include.features.labels import build_labels
from include.ingest import refine
from include.lake import open_lake
from include.projects import Project
from include.retention.retention_list import score_day
from include.serving.deployment import deploy
from include.serving.online_store.update import update_store
from include.serving.prediction_log.collect import collect_predictions
from include.settings import Settings
from include.sources.bronze import load_bronze
from include.sources.connections import Connections
from include.training.data.dataset import dataset_dir
from include.training.model.bundle import Bundle
from include.training.release.registry import Registry
from include.training.train import train_challenger
from tests import world

DAYS = DayRange.parse("2017-01-01", "2017-03-05")
HOUSEHOLDS = 14


def write_day(landing: Path, day: dt.date) -> None:
    """Write the landing files of a day with few households, of which every second buys rarely."""
    world.write_day(landing, day)
    rates = np.where(np.arange(HOUSEHOLDS + 1) % 2, 1.0, 0.35)
    buyers = np.flatnonzero(np.random.default_rng(day.toordinal()).random(HOUSEHOLDS + 1) < rates)
    rows = world.transactions(day)
    world.write_transactions(landing, day, rows.filter(pc.is_in(rows["household_id"], pa.array(buyers))))
    if day.day == 5:
        # Release 0.1.0 reads this date as one of the year 17; later releases refuse it.
        coupons = landing / "coupon_redemptions" / f"{day}.csv"
        coupons.write_text(coupons.read_text() + f"9,90099,1,{day:%y-%m-%d}\n")


def ingest(settings: Settings, project: Project, days: DayRange) -> None:
    """Ingest days as ``include.ingest`` does."""
    lake = open_lake(settings)
    load_bronze(project, lake, Connections.from_settings(settings), days)
    refine(project, lake, days, settings.reports_dir / "quality")
    build_labels(project, lake, days)


def log_answers(settings: Settings, bento: BentoReference, day: dt.date, hour: int) -> None:
    """Write a part with an answer for each customer of a gold day into the spool."""
    bundle, at = Bundle.load(bento.bundle), dt.datetime.combine(day, dt.time(hour), dt.UTC)
    rows = open_lake(settings).table("gold/features").read([day])
    matrix = bundle.contract.encode(rows.select(bundle.contract.feature_names))
    writer = PartWriter(bundle.contract, bento.bento, settings.serving.log, spool_folder(settings), None)
    writer.write(day, [Answers(rows["customer_id"].to_pylist(), matrix, bundle.predict_matrix(matrix), at)])
    writer.finish()


def train_and_serve(settings: Settings, project: Project, day: dt.date) -> BentoReference:
    """Train a model, make it the champion, and put it into service."""
    prepare_dataset(project, open_lake(settings), day, dataset_dir(settings, day))
    version = train_challenger(settings, dataset_dir(settings, day)).model_version
    Registry(settings).restore_champion(version)
    bento = BentoReference(**deploy.build(version, settings))
    Transaction.begin(settings.serving_dir, bento).commit()
    score_day(day, settings)
    update_store(day, settings)
    return bento


def main(home: Path) -> None:
    """Write the home: two models, their lists, and predictions in the lake, in the store and in the spool."""
    settings = Settings(home=home, mlflow={"tracking_uri": f"sqlite:///{home}/mlflow.db"})
    mlflow.set_tracking_uri(settings.mlflow.tracking_uri)
    project, landing = small_project(), Path(settings.landing_uri) / settings.project
    world.write_references(landing, DAYS.first)
    for day in DAYS:
        write_day(landing, day)
    week_before = DAYS.last - dt.timedelta(days=7)
    ingest(settings, project, DayRange(DAYS.first, week_before))
    train_and_serve(settings, project, week_before)
    ingest(settings, project, DayRange(week_before + dt.timedelta(days=1), DAYS.last))
    bento = train_and_serve(settings, project, DAYS.last)
    log_answers(settings, bento, DAYS.last, 12)
    collect_predictions(settings)
    log_answers(settings, bento, DAYS.last, 13)
    deliver_spool(spool_folder(settings), part_store(settings))
    log_answers(settings, bento, DAYS.last, 14)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
