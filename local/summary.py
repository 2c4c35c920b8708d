"""The summary of the demo: metrics, a prediction of the running endpoint, and the URLs and reports to open."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table

from include.days import DayRange
from include.errors import ChurnflowError
from include.lake import Lake, open_lake
from include.lake.table_names import FEATURES_TABLE, SCORES_TABLE
from include.monitoring.results import list_reports, read_result
from include.plurals import counted
from include.retention.retention_list import deployed_bento
from include.serving.deployment.client import EndpointClient
from include.settings import Settings
from local.stack import Stack

_SHOWN_METRICS = ("auc", "pr_auc", "brier", "precision", "recall", "f1", "saving_usd_per_1000_at_threshold")


class SummaryError(ChurnflowError):
    """A result of the demo is missing."""


@dataclass(frozen=True)
class Champion:
    """The champion in the model registry.

    Attributes:
        version: The version number in the registry.
        metrics: The metrics on the time-split test.
    """

    version: str
    metrics: dict[str, float]


@dataclass(frozen=True)
class Summary:
    """The results of a demo.

    Attributes:
        day: The last day.
        rows: The row count of each lake table.
        quarantined: The row count of all quarantine tables together.
        champion: The deployed model.
        prediction: The endpoint's response for the first customer of the day's retention list.
        reasons: The features that raise and that lower the risk of this customer, as text.
        drift: The drift result of the day, without its details.
        addresses: URLs and report files by name.
    """

    day: dt.date
    rows: dict[str, int]
    quarantined: int
    champion: Champion
    prediction: dict[str, Any]
    reasons: dict[str, str]
    drift: dict[str, Any]
    addresses: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Return the results as plain JSON types."""
        return {
            "auc": self.champion.metrics["auc"],
            "pr_auc": self.champion.metrics["pr_auc"],
            "rows": self.rows,
            "quarantined": self.quarantined,
            "prediction": self.prediction,
            "reasons": self.reasons,
            "drift": self.drift,
        }


def collect(stack: Stack, day: dt.date) -> Summary:
    """Collect the results of a day that was scored and monitored.

    Args:
        stack: The running stack.
        day: The day.

    Raises:
        SummaryError: There is no champion, or the day has no retention list.
        EndpointError: The endpoint does not respond.
        ResultError: The day has no monitoring result.
    """
    settings = stack.settings
    lake = open_lake(settings)
    rows = {name: lake.table(name).count() for name in lake.table_names()}
    champion = _champion(stack.mlflow_url, f"churn-{settings.project}")
    first = _first_of_list(lake, day)
    return Summary(
        day=day,
        rows=rows,
        quarantined=sum(count for name, count in rows.items() if name.startswith("quarantine/")),
        champion=champion,
        prediction=_predict(lake, settings, day, first["customer_id"]),
        reasons={name: first[name] for name in ("raises_risk", "lowers_risk") if first[name]},
        drift=_verdict(settings.reports_dir, day),
        addresses={
            "Airflow": stack.airflow_url,
            "MLflow": stack.mlflow_url,
            "Endpoint": f"{settings.serving.url}/predict",
            **_reports(settings.reports_dir, day),
        },
    )


def render(summary: Summary, console: Console) -> None:
    """Print a readable summary.

    Args:
        summary: The results.
        console: The console to print on.
    """
    tables = Table("table", "rows", title="The lake", title_justify="left", box=None, padding=(0, 2, 0, 0))
    tables.columns[0].no_wrap = tables.columns[1].no_wrap = True
    tables.columns[1].justify = "right"
    for name, count in summary.rows.items():
        tables.add_row(name, f"{count:,}")
    console.print(tables)
    metrics = summary.champion.metrics
    shown = "  ".join(f"{name} {metrics[name]:.3f}" for name in _SHOWN_METRICS if name in metrics)
    facts = {
        "Quarantine": counted(summary.quarantined, "row"),
        "Champion": f"version {summary.champion.version}, on the time-split test: {shown}",
        "Prediction": f"for the first of the retention list of {summary.day}: {summary.prediction}",
        **{name.replace("_", " ").capitalize(): reasons for name, reasons in summary.reasons.items()},
        "Drift": f"{'yes' if summary.drift['drifted'] else 'no'}, on {summary.day}: {summary.drift['reason']}",
        **summary.addresses,
    }
    for name, fact in facts.items():
        console.print(f"{name:12} {fact}", highlight=False, markup=False, soft_wrap=True)


def _champion(mlflow_url: str, name: str) -> Champion:
    # Importing MLflow's client takes longer than collecting the rest of the summary.
    with httpx.Client(base_url=f"{mlflow_url}/api/2.0/mlflow", timeout=30, trust_env=False) as http:
        try:
            alias = {"name": name, "alias": "champion"}
            found = http.get("/registered-models/alias", params=alias).raise_for_status().json()["model_version"]
            run = http.get("/runs/get", params={"run_id": found["run_id"]}).raise_for_status().json()["run"]
            metrics = {item["key"]: float(item["value"]) for item in run["data"]["metrics"]}
            return Champion(str(found["version"]), {key: metrics[key] for key in ("auc", "pr_auc")} | metrics)
        except (httpx.HTTPError, KeyError, ValueError) as error:
            raise SummaryError(
                f"The metrics of the champion cannot be read ({type(error).__name__}: {error}).",
                where=f"{name} at {mlflow_url}",
                remedy="Check in the last run of churn_train whether a model was promoted.",
            ) from error


def _first_of_list(lake: Lake, day: dt.date) -> dict[str, Any]:
    scores = lake.table(SCORES_TABLE).read(DayRange.single(day))
    if not scores.num_rows:
        raise SummaryError(
            "The day has no retention list.", where=f"{SCORES_TABLE}, dt={day}", remedy="Run churn_score."
        )
    first: dict[str, Any] = scores.filter(pc.equal(scores["rank"], 1)).to_pylist()[0]
    return first


def _predict(lake: Lake, settings: Settings, day: dt.date, customer: str) -> dict[str, Any]:
    features = lake.table(FEATURES_TABLE).read(DayRange.single(day))
    names = deployed_bento(settings).load_bundle().contract.feature_names
    row = features.filter(pc.equal(features["customer_id"], customer)).select(names).to_pylist()[0]
    client = EndpointClient(settings.serving.url, settings.serving.api_key)
    try:
        return client.predict(customer, row)
    finally:
        client.close()


def _verdict(reports_dir: Path, day: dt.date) -> dict[str, Any]:
    drift = read_result(reports_dir, day)["drift"]
    return {key: value for key, value in drift.items() if not isinstance(value, dict | list)}


def _reports(reports_dir: Path, day: dt.date) -> dict[str, str]:
    of_day = [report for report in list_reports(reports_dir) if report.day == str(day)]
    return {"Reports": str(reports_dir)} | {
        f"{report.kind}/{Path(report.path).stem}": str(reports_dir / report.path) for report in of_day
    }
