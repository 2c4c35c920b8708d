"""A project that uses every element of the feature specification, and an in-memory lake with its silver tables."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import ibis
import pyarrow as pa
import pyarrow.compute as pc

from include.days import DayRange
from include.lake import Engine
from include.lake.engine import connect_to
from include.lake.table_names import silver_table
from include.projects import Project
from include.projects.label import BecomesLabel, ColumnLabel, Label, NoEventLabel
from include.settings import EngineName
from include.sources.column_types import ENGINE_TYPES
from tests.world import grocery

SOURCES: dict[str, Any] = {
    "payments": {
        "kind": "events",
        "key": ["payment"],
        "customer": "person",
        "event_time": "paid_at",
        "columns": {
            "payment": "string",
            "person": "string",
            "product": "string",
            "amount": "decimal",
            "fee": "decimal",
            "units": "integer",
            "rating": "number",
            "status": "string",
            "gift": "boolean",
            "paid_at": "timestamp",
        },
        "lookups": [{"source": "products", "by": "product", "columns": ["department", "price"]}],
    },
    "products": {
        "kind": "snapshot",
        "key": ["product"],
        "columns": {"product": "string", "department": "string", "price": "decimal"},
    },
    "plans": {
        "kind": "changes",
        "key": ["person"],
        "customer": "person",
        "event_time": "changed_at",
        "columns": {
            "person": "string",
            "status": "string",
            "seats": "integer",
            "price": "decimal",
            "trial": "boolean",
            "since": "date",
            "changed_at": "timestamp",
        },
    },
    "devices": {
        "kind": "changes",
        "key": ["device"],
        "customer": "person",
        "event_time": "changed_on",
        "columns": {"device": "string", "person": "string", "model": "string", "changed_on": "date"},
    },
    "profiles": {
        "kind": "snapshot",
        "key": ["person"],
        "customer": "person",
        "columns": {"person": "string", "band": "string", "income": "number", "born": "date"},
    },
}

DERIVED: dict[str, Any] = {
    "payments": [
        {"name": "net", "type": "decimal", "sql": "amount - COALESCE(fee, 0)"},
        {"name": "large", "type": "boolean", "sql": "net > price"},
        {"name": "each", "type": "decimal", "sql": "amount / units"},
        {"name": "score", "type": "decimal", "sql": "rating"},
        {"name": "kind", "type": "string", "sql": "CASE WHEN status = 'failed' THEN 'bad' WHEN gift THEN 'gift' END"},
    ],
    "plans": [{"name": "value", "type": "decimal", "sql": "price * seats"}],
    "profiles": [{"name": "month", "type": "integer", "sql": "EXTRACT(month FROM born)"}],
}

WINDOWS = [1, 7, 45]
FAILED, GIFT_OR_LARGE = "status = 'failed'", "gift OR units > 2 AND department <> 'b'"
RHYTHM = ["count", "active_days", "days_since_last", "days_since_first", "mean_gap_days", "max_gap_days"]
STATISTICS = ["sum", "mean", "min", "max", "std"]


def features() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def add(name: str, calculation: dict[str, Any], windows: list[int] | None = None, **more: Any) -> None:
        kind = "aggregation" if windows else "derived"
        name = f"{name}_{{window}}d" if windows else name
        entry = {"name": name, "description": name, "type": kind, "calculation": calculation, **more}
        found.append(entry | ({"windows": windows} if windows else {}))

    def aggregate(
        name: str, function: str, windows: list[int], column: str | None = None, where: str | None = None
    ) -> None:
        given = {"function": function, "source": "payments", "column": column, "where": where}
        add(name, {key: value for key, value in given.items() if value}, windows)

    for function in RHYTHM:
        aggregate(function, function, WINDOWS)
        aggregate(f"{function}_failed", function, [45], where=FAILED)
        aggregate(f"{function}_gift", function, [7, 30], where=GIFT_OR_LARGE)
    for column in ["status", "product", "department", "kind"]:
        aggregate(f"distinct_{column}", "count_distinct", WINDOWS, column)
    aggregate("distinct_product_gift", "count_distinct", [30, 45], "product", GIFT_OR_LARGE)
    for function in STATISTICS:
        for column in ["amount", "score"]:
            aggregate(f"{function}_{column}", function, WINDOWS, column)
            aggregate(f"{function}_{column}_gift", function, [30], column, GIFT_OR_LARGE)
        for column in ["units", "net", "each", "large", "price"]:
            aggregate(f"{function}_{column}", function, [45], column)
    for function in ["min", "max", "count_distinct"]:
        aggregate(f"{function}_rating", function, WINDOWS, "rating")
    for column, value in [
        ("status", "failed"),
        ("department", "b"),
        ("kind", "gift"),
        ("gift", "true"),
        ("units", "2"),
    ]:
        share = {"function": "share", "source": "payments", "column": column, "value": value}
        add(f"share_of_events_{column}", share, [7, 45])
        add(f"share_of_amount_{column}", {**share, "of": "amount"}, [7, 45])
    add("ratio", {"function": "ratio", "numerator": "sum_net_45d", "denominator": "count_failed_45d"})
    add("trend", {"function": "trend", "near": "count_7d", "far": "count_45d"})
    add("mean_trend", {"function": "trend", "near": "mean_amount_7d", "far": "mean_amount_45d"})
    add("status", attribute("plans", "status"), validation={"categories": ["active", "paused", "gone"]})
    add("band", attribute("profiles", "band"), validation={"categories": ["x", "y"]})
    add("model", attribute("devices", "model"), validation={"categories": ["m1", "m2"]})
    for source, columns in {
        "plans": ["seats", "price", "trial", "value"],
        "profiles": ["income", "month"],
    }.items():
        for column in columns:
            add(f"{source}_{column}", attribute(source, column))
    for source, column in [
        ("plans", "since"),
        ("plans", "changed_at"),
        ("profiles", "born"),
        ("devices", "changed_on"),
    ]:
        add(f"days_since_{source}_{column}", {"function": "days_since", "source": source, "column": column})
    add("seat_ratio", {"function": "ratio", "numerator": "sum_net_45d", "denominator": "plans_seats"})
    return found


def features_named(*names: str) -> list[dict[str, Any]]:
    """Return some of the features; a name has ``{window}`` in place of its windows."""
    return [feature for feature in features() if feature["name"] in names]


def attribute(source: str, column: str) -> dict[str, Any]:
    return {"function": "attribute", "source": source, "column": column}


NO_EVENT = NoEventLabel(description="", kind="no_event", source="payments", horizon_days=10)
BECOMES = BecomesLabel(description="", kind="becomes", source="plans", column="status", value="gone", horizon_days=10)
COLUMN = ColumnLabel(description="", kind="column", source="profiles", column="band", value="x")
ACTIVE_PAYERS = {"source": "payments", "active_within_days": 20}
ACTIVE_PLANS = {"source": "plans", "column": "status", "values": ["active", "paused"]}
IN_BAND = {"source": "profiles", "column": "band", "values": ["x"]}


def project(population: dict[str, Any] = ACTIVE_PAYERS, label: Label = NO_EVENT, **more: Any) -> Project:
    """Return the project; its requirements, training and monitoring are those of the grocery project."""
    other = grocery()
    sources = {
        name: {
            "description": name,
            "owner": "tests",
            "files": {"format": "csv", "path": f"{name}/{{day}}.csv"},
            **source,
            "columns": {column: {"type": kind} for column, kind in source["columns"].items()},
        }
        for name, source in SOURCES.items()
    }
    derived = {name: [{"description": "", **column} for column in columns] for name, columns in DERIVED.items()}
    return Project.model_validate(
        {
            "name": "language",
            "title": "Language",
            "description": "",
            "owner": "tests",
            "first_day": dt.date(2024, 1, 1),
            "population": population,
            "snapshots": {"weekday": "monday", "warm_up_days": 0},
            "sources": sources,
            "derived_columns": derived,
            "feature_families": features(),
            "label": label,
            "requirements": other.requirements,
            "training": other.training.model_copy(update={"segments": ()}),
            "monitoring": other.monitoring,
        }
        | more
    )


def schema_of(name: str) -> pa.Schema:
    kinds = {column: ENGINE_TYPES[kind] for column, kind in SOURCES[name]["columns"].items()}
    return ibis.schema({**kinds, "dt": "date"}).to_pyarrow()


class MemoryTable:
    """The part of the table interface that features use, over rows in memory."""

    def __init__(self, name: str, rows: pa.Table) -> None:
        self.uri, self.name, self.rows = name, name, rows

    def days(self) -> list[dt.date]:
        return sorted(set(self.rows["dt"].to_pylist()))

    def scan(self, engine: Any, days: DayRange | Sequence[dt.date]) -> ibis.Table:
        wanted = pc.is_in(self.rows["dt"], value_set=pa.array(list(days), pa.date32()))
        return ibis.memtable(self.rows.filter(wanted))


class MemoryLake:
    """A lake in memory, which is cheap to create."""

    def __init__(self, silver: dict[str, list[dict[str, Any]]], engine: EngineName = "duckdb") -> None:
        self.uri, self._engine = "memory", engine
        self._tables = {
            silver_table(name): MemoryTable(name, pa.Table.from_pylist(silver.get(name, []), schema=schema_of(name)))
            for name in SOURCES
        }

    def connect(self) -> Engine:
        return connect_to(self._engine)

    def table(self, name: str) -> MemoryTable:
        return self._tables[name]
