"""Erase one customer, and search every byte for the id: ``make bench NAME=erasure``, about 3 minutes.

The grocery households of seven months are ingested, a model is trained, packaged and monitored, and predictions are
logged. One household has an id that does not occur by chance. After its erasure, no byte below the home may contain the
id, also not in the decompressed content of files, and all rows of other households must be the same in all tables. The
benchmark fails if the search does not find the id in every kind of place before the erasure. The last line is
``{"customers", "bytes_scanned", "traces_left", "other_rows_changed", "seconds"}``.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import mlflow
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.erasure_world import CUSTOMER, build_world, rename_household
from benchmarks.figures import print_figures
from benchmarks.ingest_runs import count_missing
from benchmarks.traces import Traces, find_traces
from include.days import DayRange
from include.lake import Lake, open_lake
from include.lake.table_names import ERASED_TABLE, FEATURES_TABLE
from include.monitoring.monitor_day import monitor_day
from include.privacy.erase import erase
from include.projects import load_project
from include.provenance.signature import create_keys
from include.settings import MlflowSettings, PrivacySettings, ProvenanceSettings, Settings
from local.grocery_export import export

DAYS = DayRange.parse("2017-01-01", "2017-07-31")
HOUSEHOLD = "1"
PLACES = ("landing", "lake", "online_store", "prediction_log", "prediction_log_spool", "training", "versions")
"""The folders below the home that contain the id before the erasure."""
_NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class ErasureBenchmarkError(Exception):
    """The search does not find the id where it is, so that its result after the erasure would mean nothing."""


def other_rows_changed(before: Lake, after: Lake) -> dict[str, int]:
    """Return the number of rows of other customers that are in one of two lakes only, for each table with such rows.

    Args:
        before: A copy of the lake before the erasure.
        after: The lake after the erasure.
    """
    names = {*before.table_names(), *after.table_names()} - {ERASED_TABLE}
    return {name: changed for name in sorted(names) if (changed := _rows_changed(before, after, name))}


def _rows_changed(before: Lake, after: Lake, name: str) -> int:
    old, new = (_others(table.read(table.days())) for table in (before.table(name), after.table(name)))
    return count_missing(old, new) + count_missing(new, old)


def _others(rows: pa.Table) -> pa.Table:
    for column in {"household_id", "customer_id"} & set(rows.column_names):
        rows = rows.filter(pc.fill_null(pc.not_equal(rows[column], CUSTOMER), True))
    return rows


def require_found(traces: Traces, home: Path) -> None:
    """Check that a search before the erasure has found the id in every place.

    Args:
        traces: The result of the search.
        home: The home folder.

    Raises:
        ErasureBenchmarkError: It has not.
    """
    found = {Path(place).relative_to(home).parts[0] for place in traces.places}
    if missed := set(PLACES) - found:
        raise ErasureBenchmarkError(f"the search found no id in {', '.join(sorted(missed))}")


def main() -> None:
    """Print the figures as one JSON object on the last line."""
    with tempfile.TemporaryDirectory(prefix="churnflow-erasure-") as scratch:
        home = Path(scratch) / "home"
        home.mkdir()
        os.chdir(home)  # MLflow stores the artifacts of an SQLite store below the working directory
        private, public = home / "keys" / "signing.pem", home / "keys" / "public.pem"
        create_keys(private, public)
        settings = Settings(
            home=home,
            project="grocery",
            mlflow=MlflowSettings(tracking_uri=f"sqlite:///{home}/mlflow.db"),
            provenance=ProvenanceSettings(signing_key=private, public_key=public),
            privacy=PrivacySettings.model_validate({"key": "a key for this benchmark only, of 48 characters"}),
        )
        mlflow.set_tracking_uri(settings.mlflow.tracking_uri)
        project = load_project(settings.project)
        training = project.training.model_copy(update={"n_trials": 1, "cv_folds": 2, "test_snapshots": 4})
        landing = Path(settings.landing_uri) / settings.project
        export(landing, DAYS)
        rename_household(landing, HOUSEHOLD)
        build_world(settings, project.model_copy(update={"training": training}), DAYS)
        monitor_day(project, settings, DAYS.last)
        require_found(find_traces(home, CUSTOMER), home)
        before = Lake(str(shutil.copytree(f"{settings.lake_uri}/grocery", Path(scratch) / "before")))

        started = time.perf_counter()
        erasure, _ = erase(settings, CUSTOMER, _NOW)
        seconds = time.perf_counter() - started
        traces = find_traces(home, CUSTOMER)
        for place in traces.places:
            print(place, file=sys.stderr)
        lake = open_lake(settings)
        features = lake.table(FEATURES_TABLE)
        figures = {
            "customers": len(pc.unique(features.read(features.days(), ["customer_id"])["customer_id"])) + 1,
            "bytes_scanned": traces.bytes_scanned,
            "traces_left": len(traces.places),
            "other_rows_changed": sum(other_rows_changed(before, lake).values()),
            "seconds": round(seconds, 1),
        }
    removed = {step: sum(item["rows"] for item in items) for step, items in erasure.removed.items()}
    print_figures("erasure", figures, {"rows_removed": removed, "left": len(erasure.left)})


if __name__ == "__main__":
    main()
