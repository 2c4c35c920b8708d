"""A small shop in a scratch folder: a project, its deliveries and its lake."""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg2
import yaml
from psycopg2 import sql
from pydantic import SecretStr

from include.days import DayRange
from include.features.labels import build_labels
from include.ingest import refine
from include.lake import Lake, open_lake
from include.lake.table_names import FEATURES_TABLE, LABELS_TABLE, quarantine_table, silver_table
from include.projects import Project, load_project
from include.projects.scaffold import new_project
from include.quality.silver import build_silver
from include.settings import Settings
from include.sources.audit import audit_sources
from include.sources.bronze import load_bronze
from include.sources.connections import Connections
from local.postgres import database_url

DAY = dt.date(2026, 3, 1)
"""A Sunday, on which all deliveries start."""

PROJECT = "shop"

CUSTOMERS = """customer_id,status,plan,signed_up,updated_at
1,active,basic,2025-01-01,2026-02-01 09:00:00
2,active,pro,2025-06-01,2026-02-01 09:00:00
"""

ORDER = {
    "order_id": "a",
    "customer_id": "1",
    "amount": "12.50",
    "qty": "1",
    "score": "0.5",
    "note": "text",
    "due": "2026-03-05",
    "gift": "true",
    "ordered_at": "2026-03-01 10:00:00",
}
"""The texts of an order without oddities."""

NO_ORDER = {"name": "churned", "description": "No order", "kind": "no_event", "source": "orders", "horizon_days": 3}
"""The label of a project whose customers have no status."""

_FILES = yaml.safe_load("""
project.yaml:
  title: Shop
  description: A small shop.
  owner: qa
  first_day: 2026-03-01
  lateness_days: 7
  population: {source: customers, column: status, values: [active]}
  snapshots: {weekday: sunday, warm_up_days: 0}
sources.yaml:
  sources:
    customers:
      description: A customer who is new or changed.
      owner: crm
      kind: changes
      files: {format: csv, path: "customers/{day}.csv"}
      key: [customer_id]
      customer: customer_id
      event_time: updated_at
      allow_no_rows: true
      columns:
        customer_id: {type: string, required: true}
        status: {type: string, required: true}
        plan: {type: string}
        signed_up: {type: date}
        updated_at: {type: timestamp, required: true}
    orders:
      description: An order.
      owner: web
      kind: events
      files: {format: csv, path: "orders/{day}.csv"}
      key: [order_id]
      customer: customer_id
      event_time: ordered_at
      allow_no_rows: true
      columns:
        order_id: {type: string, required: true}
        customer_id: {type: string, required: true}
        amount: {type: decimal}
        qty: {type: integer}
        score: {type: number}
        note: {type: string}
        due: {type: date}
        gift: {type: boolean}
        ordered_at: {type: timestamp, required: true}
checks.yaml:
  silver:
    customers: {minimum_pass_share: 0}
    orders: {minimum_pass_share: 0}
  gold: {minimum_pass_share: 0}
features.yaml:
  features:
    - name: orders_7d
      description: Orders
      type: aggregation
      calculation: {function: count, source: orders}
      windows: [7]
    - name: spend_7d
      description: Dollars
      type: aggregation
      calculation: {function: sum, source: orders, column: amount}
      windows: [7]
    - name: days_since_order
      description: Recency
      type: aggregation
      calculation: {function: days_since_last, source: orders}
      windows: [7]
    - name: plan
      description: Plan
      type: derived
      calculation: {function: attribute, source: customers, column: plan}
      validation: {categories: [basic, pro]}
    - name: tenure_days
      description: Tenure
      type: derived
      drifts_by_construction: true
      calculation: {function: days_since, source: customers, column: signed_up}
label.yaml:
  {name: churned, description: Leaves, kind: becomes, source: customers, column: status, value: left, horizon_days: 3}
monitoring.yaml:
  {window_days: 7, sample_rows: 2000}
requirements.yaml:
  target: churned
  costs: {missed_churner_usd: 500, needless_offer_usd: 50}
  data: {mode: enabled, min_training_samples: 10, min_positive_ratio: 0.03, min_features: 2, max_features: 40}
  metrics: {mode: dry_run, accuracy: 0.75, precision: 0.70, recall: 0.65, f1: 0.67}
  performance: {mode: enabled, max_training_hours: 2, max_inference_p99_ms: 100, min_predictions_per_second: 1000}
training.yaml:
  every_days: 28
  n_trials: 2
  seed: 1
  cv_folds: 2
  test_snapshots: 2
  max_bin: 64
  search_space:
    n_estimators: {low: 50, high: 100}
    max_depth: {low: 3, high: 6}
    learning_rate: {low: 0.01, high: 0.1, log: true}
    subsample: {low: 0.6, high: 1.0}
    colsample_bytree: {low: 0.3, high: 1.0}
    min_child_weight: {low: 1, high: 30, log: true}
  promotion: {margin_usd_per_1000: 0, confidence: 0.95}
""")


class Shop:
    """A project with a landing folder and a lake of its own.

    Args:
        folder: An empty folder.
        host: The folder of the socket of a PostgreSQL server.

    Attributes:
        yaml: The content of the project's files, which an input changes before its first delivery.
        sources: The sources in it.
        orders: The source of orders in it.
        database: The name of a schema that only this shop uses.
    """

    def __init__(self, folder: Path, host: str) -> None:
        self.settings = Settings(home=folder, project=PROJECT)
        self.yaml: dict[str, Any] = copy.deepcopy(_FILES)
        self.sources: dict[str, Any] = self.yaml["sources.yaml"]["sources"]
        self.orders: dict[str, Any] = self.sources["orders"]
        self.database = "shop_" + folder.name.replace("-", "_").lower()
        self._root = folder / "projects"
        self._url = database_url(host, "postgres")
        self._host = host
        self._landing = folder / "landing" / PROJECT

    def write(self, path: str, content: str | bytes) -> Path:
        """Write a file below the landing folder; a text is encoded in UTF-8, and its line ends are kept."""
        target = self._landing / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
        return target

    def sql(self, statements: str) -> None:
        """Execute statements in the shop's schema of the database, in UTC."""
        connection = psycopg2.connect(host=self._host, user="postgres", dbname="postgres")
        connection.autocommit = True
        with connection.cursor() as cursor:
            schema = sql.Identifier(self.database)
            cursor.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {0}; SET search_path TO {0}").format(schema))
            cursor.execute("SET TIME ZONE 'UTC'")
            cursor.execute(statements)
        connection.close()

    def declare(self, *columns: str) -> None:
        """Keep only the ids, the time and these columns of the orders, which halves the time of an ingest."""
        declared = self.orders["columns"]
        kept = {"order_id", "customer_id", "ordered_at", *columns}
        self.orders["columns"] = {name: column for name, column in declared.items() if name in kept}

    def scaffold(self, table: Path, customer: str, label: tuple[str, str]) -> None:
        """Create the project from a table, and deliver the table on the first day."""
        self._root.mkdir(parents=True, exist_ok=True)
        new_project(PROJECT, table, customer=customer, label=label, first_day=DAY, root=self._root)
        files = self.project().sources["customers"].files
        assert files is not None  # noqa: S101
        self.write(files.path.replace("{day}", str(DAY)), table.read_bytes())

    def project(self) -> Project:
        """Write the files of the project, unless it has been created from a table, and load it."""
        folder = self._root / PROJECT
        if not folder.exists():
            folder.mkdir(parents=True)
            for name, content in self.yaml.items():
                (folder / name).write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
        return load_project(PROJECT, self._root)

    def ingest(self, first: dt.date = DAY, last: dt.date | None = None) -> None:
        """Ingest days, with all steps; by default customers 1 and 2 are delivered on the first day and never change.

        Args:
            first: The first day.
            last: The last day; by default the first day.
        """
        days = DayRange(first, last or first)
        if "status" in self.sources["customers"]["columns"] and "files" in self.sources["customers"]:
            for day in days:
                if not (self._landing / f"customers/{day}.csv").exists():
                    self.write(f"customers/{day}.csv", CUSTOMERS if day == DAY else CUSTOMERS.splitlines()[0] + "\n")
        project, lake, reports = self._load(days)
        refine(project, lake, days, reports)
        build_labels(project, lake, days)

    def ingest_orders(self, first: dt.date = DAY, last: dt.date | None = None) -> None:
        """Ingest days up to silver, in a project that has only orders, which takes a third of the time.

        Args:
            first: The first day.
            last: The last day; by default the first day.
        """
        if self.sources.pop("customers", None):
            del self.yaml["checks.yaml"]["silver"]["customers"]
            self.yaml["project.yaml"]["population"] = {"source": "orders", "active_within_days": 7}
            self.yaml["label.yaml"] = NO_ORDER
            features = self.yaml["features.yaml"]["features"]
            features[:] = [feature for feature in features if feature["name"] == "orders_7d"]
        days = DayRange(first, last or first)
        project, lake, reports = self._load(days)
        build_silver(project, lake, days, reports)

    def _load(self, days: DayRange) -> tuple[Project, Lake, Path]:
        project, lake = self.project(), open_lake(self.settings)
        connections = Connections(str(self._landing), {"crm": SecretStr(self._url)})
        audit_sources(project, lake, connections, days, self.settings.reports_dir / "audit")
        load_bronze(project, lake, connections, days)
        return project, lake, self.settings.reports_dir / "quality"

    def silver(self, column: str, source: str = "orders") -> list[str | None]:
        """Return the values of a column in silver as texts, in the order of the rows' days and keys."""
        return self._column(silver_table(source), column)

    def quarantine(self) -> list[str]:
        """Return the rules that rows of the sources violated, sorted."""
        tables = [quarantine_table(name) for name in self.project().sources]
        return sorted(rule for table in tables for rule in self._column(table, "rules") if rule)

    def gold(self, feature: str) -> dict[str, str | None]:
        """Return the values of a feature by day and customer, such as ``{"2026-03-01 7": "1"}``."""
        return self._by_customer(FEATURES_TABLE, feature)

    def labels(self) -> dict[str, str | None]:
        """Return the labels by day and customer."""
        return self._by_customer(LABELS_TABLE, self.project().label.name)

    def _column(self, table: str, column: str) -> list[str | None]:
        return [_text(row[column]) for row in self._rows(table)]

    def _by_customer(self, table: str, column: str) -> dict[str, str | None]:
        return {f"{row['dt']} {row['customer_id']}": _text(row[column]) for row in self._rows(table)}

    def _rows(self, name: str) -> list[Mapping[str, Any]]:
        table = open_lake(self.settings).table(name)
        if not table.exists() or not table.days():
            return []
        return sorted(table.read(table.days()).to_pylist(), key=lambda row: str([row["dt"], *map(str, row.values())]))


def _text(value: object) -> str | None:
    return None if value is None else str(value)
