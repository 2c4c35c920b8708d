"""Spark as an engine: tables of a session, rows of partitions, and errors without Spark."""

import os
import subprocess
import sys

import ibis
import pyarrow as pa
import pytest

from include.days import DayRange
from include.lake import Lake
from include.lake.engine import NO_EXTENSIONS, EngineError, connect_to
from tests.spark import needs_spark

DAYS = DayRange.parse("2024-01-01", "2024-01-02")


def test_an_engine_that_is_not_installed_is_an_error_with_a_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "include.lake.spark", None)
    with pytest.raises(EngineError, match="make spark"):
        connect_to("spark")


@needs_spark
@pytest.mark.slow
def test_a_column_that_is_younger_than_a_file_is_null(tmp_path):
    lake = Lake(str(tmp_path), engine="spark")
    table = lake.table("silver/things")
    table.replace([DAYS.first], pa.table({"dt": pa.array([DAYS.first], pa.date32()), "old": [1]}))
    table.replace([DAYS.last], pa.table({"dt": pa.array([DAYS.last], pa.date32()), "old": [2], "new": ["x"]}))
    engine = lake.connect()
    found = engine.to_pyarrow(table.scan(engine, DAYS).order_by("dt"))
    assert found.to_pylist() == [
        {"dt": DAYS.first, "old": 1, "new": None},
        {"dt": DAYS.last, "old": 2, "new": "x"},
    ]


@needs_spark
@pytest.mark.slow
def test_engines_do_not_see_the_tables_of_each_other():
    one, other = connect_to("spark"), connect_to("spark")
    numbers = one.create_table("numbers", ibis.memtable({"number": [1, 2]}), temp=True)
    assert one.to_pyarrow(numbers.number.sum()).as_py() == 3
    assert numbers.get_name() not in other.list_tables()


@needs_spark
@pytest.mark.slow
@pytest.mark.parametrize("text", ["1e3", " 7 ", "0x10", "1_000", "٣", "Infinity", "2024-01-01 24:00:00", "2024-1-5"])
def test_texts_are_converted_as_on_duckdb(text):
    texts = ibis.memtable({"text": [text]})

    def convert(rows):
        kinds = ("float64", "int64", "decimal(18, 4)", "date", "timestamp", "boolean")
        return rows.select(**{kind: rows["text"].try_cast(kind).cast("string") for kind in kinds})

    found = [engine.to_pyarrow(engine.map_rows(texts, convert)) for engine in map(connect_to, ("spark", "duckdb"))]
    assert found[0].equals(found[1])


@ibis.udf.scalar.builtin
def current_setting(name: str) -> bool:
    """Return a setting of DuckDB."""


@needs_spark
@pytest.mark.slow
def test_duckdb_in_the_workers_downloads_and_loads_no_extension():
    engine = connect_to("spark")
    settings = {name: current_setting(name) for name in NO_EXTENSIONS}
    found = engine.map_rows(ibis.memtable({"text": ["1"]}), lambda rows: rows.select(**settings))
    assert engine.to_pyarrow(found).to_pylist() == [dict.fromkeys(NO_EXTENSIONS, False)]


ON_A_CLUSTER = """
import sys
from include.days import DayRange
from include.lake import Lake
table, engine = Lake(sys.argv[1]).table("silver/things"), Lake(sys.argv[1], engine="spark").connect()
rows = table.scan(engine, DayRange.parse("2024-01-01", "2024-01-02"))
numbers = engine.map_rows(rows, lambda rows: rows.select(number=rows.text.cast("int64")))
print(engine.raw_sql("SET spark.master").first()["value"], engine.to_pyarrow(numbers.number.sum()))
"""


@needs_spark
@pytest.mark.slow
def test_the_workers_of_a_cluster_read_and_convert_rows(tmp_path):
    from benchmarks.spark_cluster import standalone_cluster

    table = Lake(str(tmp_path / "lake")).table("silver/things")
    table.replace(DAYS, pa.table({"dt": pa.array(list(DAYS), pa.date32()), "text": ["1", "2"]}))
    with standalone_cluster(workers=2) as configuration:
        # A process has one Spark, and that of the other tests runs on this machine.
        command = [sys.executable, "-c", ON_A_CLUSTER, table.uri.removesuffix("/silver/things")]
        found = subprocess.run(
            command, env=os.environ | {"SPARK_CONF_DIR": str(configuration)}, capture_output=True, text=True, check=True
        )
    master, total = found.stdout.split()
    assert master.startswith("spark://")
    assert total == "3"
