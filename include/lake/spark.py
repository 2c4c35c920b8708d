"""Spark as the compute engine: Ibis's PySpark backend, with what the expressions of the product need in addition.

Java's and DuckDB's conversions of text to numbers and times differ, so ``map_rows`` runs DuckDB in Spark's Python
workers: a value is the same on both engines. ``docs/decisions/0035-spark-through-ibis.md`` lists all adaptations.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import ibis
import ibis.expr.operations as ops
import pyarrow as pa
import sqlglot.expressions as sge
from ibis.backends.pyspark import Backend
from ibis.backends.pyspark.datatypes import PySparkSchema
from ibis.backends.sql.compilers.pyspark import PySparkCompiler
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from include.lake.engine import NO_EXTENSIONS, EngineError

if TYPE_CHECKING:
    from deltalake import DeltaTable

# Ibis sets the time zone of the session to UTC.
_SESSION = {
    "spark.sql.timestampType": "TIMESTAMP_LTZ",
    "spark.sql.parquet.inferTimestampNTZ.enabled": "false",
    "spark.sql.decimalOperations.allowPrecisionLoss": "false",  # a product keeps all decimal places
    "spark.sql.execution.arrow.maxRecordsPerBatch": "100000",
    "spark.sql.caseSensitive": "true",  # columns that differ only in case are different columns
}
_FUNCTIONS = (
    # DuckDB's function of this name; the session's time zone is UTC.
    "CREATE OR REPLACE TEMPORARY FUNCTION timezone(zone STRING, instant TIMESTAMP) RETURNS TIMESTAMP"
    " RETURN from_utc_timestamp(instant, zone)",
)


class _Compiler(PySparkCompiler):  # type: ignore[misc]
    UNSUPPORTED_OPS = tuple(kind for kind in PySparkCompiler.UNSUPPORTED_OPS if kind is not ops.BitOr)

    # Ibis 12 has no rule for this operation, although Spark has the function.
    def visit_BitOr(self, op: ops.BitOr, *, arg: sge.Expression, where: sge.Expression | None) -> sge.Expression:  # noqa: N802
        return self.agg.bit_or(arg, where=where)  # type: ignore[no-any-return]

    # The rule of Ibis 12 compares the SQL of two expressions, not their values, and is always false.
    def visit_IsInf(self, op: ops.IsInf, *, arg: sge.Expression) -> sge.Expression:  # noqa: N802
        return arg.isin(self.POS_INF, self.NEG_INF)


class SparkEngine(Backend):  # type: ignore[misc]
    """A session of Spark."""

    compiler = _Compiler()

    def create_table(self, name: str, obj: ibis.Table, *, temp: bool = True) -> ibis.Table:
        """Compute an expression once, and return its rows as a table of this session.

        The rows are stored on the executors, not computed again when one of them is lost: a numbering of rows that is
        computed twice can differ.

        Args:
            name: The beginning of the table's name.
            obj: The expression.
            temp: Always true.
        """
        view = ibis.util.gen_name(name)
        self._frame(obj).localCheckpoint().createTempView(view)
        return self.table(view)

    def read_partitions(self, table: DeltaTable, files: Sequence[str], schema: ibis.Schema) -> ibis.Table:
        """Return the rows of files of a Delta table, which are in folders such as ``dt=2024-01-05``, as an expression.

        Args:
            table: The table, which is not needed.
            files: The paths of files, or their addresses in a file system that Spark's configuration knows.
            schema: The columns of the table; a file that is older than a column does not contain the column.
        """
        view = ibis.util.gen_name("partitions")
        reader = self._session.read.schema(PySparkSchema.from_ibis(schema))
        reader.option("basePath", files[0].split("/dt=")[0]).parquet(*files).createTempView(view)
        return self.table(view)

    def map_rows(self, rows: ibis.Table, function: Callable[[ibis.Table], ibis.Table]) -> ibis.Table:
        """Apply an expression that computes each row from one row, by DuckDB in Spark's Python workers.

        Args:
            rows: The rows.
            function: Returns the expression over its argument.
        """
        expression = function(ibis.table(rows.schema(), name="rows"))
        sql, schema = str(ibis.to_sql(expression, dialect="duckdb")), expression.schema()
        arrow = schema.to_pyarrow()

        def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            with duckdb.connect(config={**NO_EXTENSIONS, "threads": 1}) as connection:
                connection.execute("SET TimeZone = 'UTC'")
                for batch in batches:
                    connection.register("rows", pa.Table.from_batches([batch]))
                    yield from connection.sql(sql).to_arrow_table().cast(arrow).to_batches()

        view = ibis.util.gen_name("mapped")
        self._frame(rows).mapInArrow(run, PySparkSchema.from_ibis(schema)).createTempView(view)
        return self.table(view)

    def stream(self, expression: ibis.Table) -> pa.RecordBatchReader:
        """Return the rows of an expression as a stream. Spark collects them in this process first.

        Args:
            expression: An expression over tables of this engine.
        """
        return self.to_pyarrow(expression).to_reader()

    def to_pyarrow(self, expr: ibis.Expr, **_: object) -> pa.Table:
        """Return the rows or the value of an expression, without the detour through pandas that Ibis makes."""
        rows = self._frame(expr.as_table()).toArrow()
        return expr.__pyarrow_result__(rows.cast(expr.as_table().schema().to_pyarrow()))

    def _frame(self, expression: ibis.Table) -> DataFrame:
        self._run_pre_execute_hooks(expression)
        return self._session.sql(self.compile(expression))

    def _register_in_memory_table(self, op: ops.InMemoryTable) -> None:
        rows = op.data.to_pyarrow(op.schema)
        self._session.createDataFrame(rows).createOrReplaceTempView(op.name)


def connect_spark() -> SparkEngine:
    """Return a new session of Spark; Spark's own configuration (``SPARK_CONF_DIR``) names the cluster.

    Raises:
        EngineError: Spark does not start.
    """
    # The workers need this interpreter's packages. On a cluster, set PYSPARK_PYTHON if the path differs there.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("SPARK_CONF_DIR", str(Path(__file__).parent / "spark_conf"))
    try:
        session = SparkSession.builder.appName("churnflow").getOrCreate().newSession()
    except PySparkException as error:
        raise EngineError(
            f"Spark does not start: {error}", where="CHURN_ENGINE=spark", remedy="Install Java 17 and set JAVA_HOME."
        ) from error
    engine = SparkEngine()
    engine.register_options()
    engine.do_connect(session, **_SESSION)
    for function in _FUNCTIONS:
        session.sql(function)
    return engine
