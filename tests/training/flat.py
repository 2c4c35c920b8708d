"""A table without time: one row per customer, three columns, and a label that depends on the first one."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa

from include.days import DayRange
from include.lake import Lake
from include.lake.table_names import FEATURES_TABLE, LABELS_TABLE
from include.projects import Project
from tests.training.gold import small_project

DAY = dt.date(2026, 1, 1)


def flat_project() -> Project:
    """Return a project of one table, with a short training."""
    content = small_project().model_dump()
    columns = {"customer_id": "string", "minutes": "number", "calls": "integer", "plan": "string", "churn": "string"}
    table = {
        "description": "One customer.",
        "owner": "care",
        "kind": "snapshot",
        "files": {"format": "csv", "path": "customers/{day}.csv"},
        "key": ["customer_id"],
        "customer": "customer_id",
        "columns": {name: {"type": kind} for name, kind in columns.items()},
    }

    def attribute(column: str, **validation: object) -> dict[str, object]:
        calculation = {"function": "attribute", "source": "customers", "column": column}
        return {
            "name": column,
            "description": column,
            "type": "derived",
            "calculation": calculation,
            "validation": validation,
        }

    features = [attribute("minutes", min=0), attribute("calls", min=0), attribute("plan", categories=["a", "b"])]
    label = {
        "description": "Left.",
        "kind": "column",
        "source": "customers",
        "column": "churn",
        "value": "yes",
    }
    content |= {
        "name": "telecom",
        "first_day": DAY,
        "population": {"source": "customers"},
        "snapshots": None,
        "sources": {"customers": table},
        "checks": {},
        "derived_columns": {},
        "feature_families": features,
        "label": label,
    }
    # Expensive offers pay only for likely churners; these few trees predict no such probability for other customers.
    content["requirements"]["costs"] = {"missed_churner_usd": 100, "needless_offer_usd": 30}
    content["training"] |= {"test_snapshots": 0, "test_share": 0.25, "cv_folds": 3, "segments": ("plan",)}
    return Project.model_validate(content)


def write_flat_gold(lake: Lake, project: Project, day: dt.date = DAY, customers: int = 400, seed: int = 3) -> None:
    """Write features and labels of one day."""
    rng = np.random.default_rng(seed)
    minutes, calls, chance = (rng.random(customers) for _ in range(3))
    churned = chance < 1 / (1 + np.exp(-(10 * minutes - 8)))
    keys = {
        "dt": pa.array([day] * customers, pa.date32()),
        "customer_id": [f"c{number:05d}" for number in range(customers)],
    }
    features = {
        "minutes": pa.array(minutes * 300),
        "calls": pa.array((calls * 10).round()),
        "plan": pa.array(np.where(calls > 0.5, "a", "b"), pa.string()),
    }
    span = DayRange.single(day)
    lake.table(FEATURES_TABLE).replace(span, pa.table(keys | features))
    lake.table(LABELS_TABLE).replace(span, pa.table(keys | {project.label.name: pa.array(churned.astype(np.int8))}))
