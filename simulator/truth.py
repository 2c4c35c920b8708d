"""The true probabilities beside what happened, for evaluation only: nothing that a model learns from reads this."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from simulator.customers import NOTICE_DAYS, Customers
from simulator.delivery import write_aside
from simulator.hazard import churn_probability


def write_truth(path: Path, customers: Customers) -> None:
    """Write ``customer_id, probability`` of leaving within 30 days for every active customer."""
    rows = pa.table({"customer_id": customers.customer_id, "probability": churn_probability(customers)})
    write_aside(path, lambda partial: pq.write_table(rows, partial))


def read_outcomes(landing: Path, truth: Path) -> pa.Table:
    """Return what was true and what happened, for the days whose 30 days after them were delivered.

    Args:
        landing: The world's landing folder.
        truth: Its folder of true probabilities.

    Returns:
        ``dt, customer_id, probability, churned`` in order of the first two: one row for each customer who was active
        when the day closed.
    """
    query = f"""
        WITH left_on AS (
            SELECT customer_id, CAST(updated_at AS DATE) AS left_on
            FROM read_csv(?, header = true) WHERE status = 'churned'
        ), truth AS (
            SELECT *, CAST(parse_filename(filename, true) AS DATE) AS dt FROM read_parquet(?, filename = true)
        )
        SELECT dt, customer_id, probability, coalesce(left_on <= dt + {NOTICE_DAYS}, false) AS churned
        FROM truth LEFT JOIN left_on USING (customer_id)
        WHERE dt + {NOTICE_DAYS} <= (SELECT max(CAST(parse_filename(file, true) AS DATE)) FROM glob(?))
        ORDER BY dt, customer_id
    """  # noqa: S608 - a constant of this package
    files = str(landing / "customers" / "*.csv")
    found = duckdb.connect().sql(query, params=[files, str(truth / "*.parquet"), files])
    return found.to_arrow_table()
