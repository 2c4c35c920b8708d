"""The lake: Delta tables partitioned by day, replaced by ranges of days, and read through Ibis by DuckDB or Spark."""

from include.lake.engine import Engine, connect
from include.lake.optimistic_retry import with_optimistic_retry
from include.lake.table import Lake, LakeError, StepResult, Table, open_lake

__all__ = ["Engine", "Lake", "LakeError", "StepResult", "Table", "connect", "open_lake", "with_optimistic_retry"]
