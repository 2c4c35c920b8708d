"""A deployment with data of every kind, for ``benchmarks/erasure.py`` and the tests of an erasure."""

from __future__ import annotations

import csv
import datetime as dt
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include.days import DayRange
from include.features.labels import build_labels
from include.ingest import refine
from include.lake import open_lake
from include.lake.table_names import FEATURES_TABLE
from include.projects import Project
from include.retention.retention_list import score_day
from include.serving.deployment import deploy
from include.serving.deployment.bento_store import load_model
from include.serving.deployment.state import BentoReference, open_state
from include.serving.online_store.update import update_store
from include.serving.prediction_log.collect import collect_predictions
from include.serving.prediction_log.predictions import Predictions, segment_rows
from include.serving.prediction_log.segments import (
    deliver_spool,
    new_segment_name,
    segment_store,
    spool_folder,
    write_segment,
)
from include.settings import Settings
from include.sources.bronze import load_bronze
from include.sources.connections import Connections
from include.training.data.build import build_dataset
from include.training.data.dataset import dataset_dir
from include.training.train import train_challenger
from include.versions.repository import open_repository
from include.versions.snapshot import version_dataset

CUSTOMER = "household-5e1f-ünique"
"""The id of the household that is erased; it does not occur by chance in other data."""
_SCORED_DAYS = 2


def rename_household(landing: Path, household: str) -> None:
    """Give a household the id ``CUSTOMER`` in all landing files of the grocery project.

    Args:
        landing: The landing folder of the project.
        household: Its id.
    """
    for path in landing.rglob("*.parquet"):
        rows = pq.read_table(path)
        if "household_id" in rows.column_names:
            ids = rows["household_id"].cast(pa.string())
            renamed = pc.if_else(pc.equal(ids, household), CUSTOMER, ids)
            pq.write_table(rows.set_column(rows.schema.get_field_index("household_id"), "household_id", renamed), path)
    for path in landing.rglob("*.csv"):
        with path.open(newline="") as file:
            rows_of_csv = list(csv.reader(file))
        if rows_of_csv and "household_id" in rows_of_csv[0]:
            position = rows_of_csv[0].index("household_id")
            for row in rows_of_csv[1:]:
                row[position] = CUSTOMER if row[position] == household else row[position]
            with path.open("w", newline="") as file:
                csv.writer(file).writerows(rows_of_csv)


def build_world(settings: Settings, project: Project, days: DayRange) -> str:
    """Ingest, train, deploy, score and log predictions, and return the version of the model.

    The last day is ingested twice, so that the lake has earlier versions of its tables. The prediction log has rows in
    the lake, in the store and in the spool.

    Args:
        settings: The deployment; its landing folder has the files of ``days``.
        project: The project, or a shorter variant of it.
        days: The days to ingest.
    """
    last = DayRange.single(days.last)
    for part in (DayRange(days.first, days.last - dt.timedelta(days=1)), last, last):
        ingest(settings, project, part)
    lake = open_lake(settings)
    dataset = build_dataset(project, lake, days.last, dataset_dir(settings, days.last))
    version_dataset(project, lake, open_repository(settings), dataset.folder)
    version = train_challenger(settings, dataset.folder).model_version
    bento = BentoReference(**deploy.build(version, settings))
    state = open_state(settings)
    state.commit(state.begin(bento))
    for day in lake.table(FEATURES_TABLE).days()[-_SCORED_DAYS:]:
        score_day(day, settings)
        update_store(day, settings)
    _log_predictions(settings, bento, days.last)
    return version


def ingest(settings: Settings, project: Project, days: DayRange) -> None:
    """Ingest days as ``include.ingest`` does, with a variant of a project.

    Args:
        settings: The deployment.
        project: The variant.
        days: The days.
    """
    lake = open_lake(settings)
    load_bronze(project, lake, Connections.from_settings(settings), days, settings.privacy)
    refine(project, lake, days, settings.reports_dir / "quality")
    build_labels(project, lake, days)


def log_prediction(settings: Settings, bento: BentoReference, day: dt.date, at: dt.datetime) -> None:
    """Write a segment with predictions for the customers of a gold day, ``CUSTOMER`` among them, into the spool."""
    bundle = load_model(bento, settings)
    rows = open_lake(settings).table(FEATURES_TABLE).read([day])
    customers = [*rows["customer_id"].to_pylist(), CUSTOMER]
    matrix = bundle.contract.encode(pa.concat_tables([rows, rows.slice(0, 1)]).select(bundle.contract.feature_names))
    group = Predictions(customers, matrix, bundle.predict_matrix(matrix), at)
    segment = segment_rows(bundle.contract, bento.model_version, [group])
    write_segment(spool_folder(settings), new_segment_name(group.day, settings.project, bento.model_version), segment)


def _log_predictions(settings: Settings, bento: BentoReference, day: dt.date) -> None:
    noon = dt.datetime.combine(day, dt.time(12), dt.UTC)
    log_prediction(settings, bento, day, noon)
    collect_predictions(settings)
    log_prediction(settings, bento, day, noon + dt.timedelta(hours=1))
    deliver_spool(spool_folder(settings), segment_store(settings), settings.project)
    log_prediction(settings, bento, day, noon + dt.timedelta(hours=2))
