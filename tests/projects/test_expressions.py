"""Expressions in YAML cannot do more than compute a value from their own row."""

from __future__ import annotations

import duckdb
import ibis
import pyarrow as pa
import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st

from include.features.sql_expressions import with_derived_columns
from include.lake.engine import connect
from include.projects.expressions import check_expression, columns_in
from include.projects.features import DerivedColumn

HOSTILE = [
    "getenv('HOME')",
    "current_setting('temp_directory')",
    "read_text('/etc/passwd')",
    "read_csv('/etc/passwd')",
    "query('SELECT 1')",
    "nextval('x')",
    "now()",
    "today()",
    "current_date",
    "current_timestamp",
    "random()",
    "uuid()",
    "version()",
    "sum(a)",
    "row_number() OVER ()",
    "(SELECT 1)",
    "EXISTS (SELECT 1)",
    "a IN (SELECT content FROM read_text('/etc/passwd'))",
    "a = ANY (SELECT 1)",
    "a = ALL (SELECT 1)",
    "*",
    "COLUMNS('.*')",
    "unnest([1])",
    "rows.a",
    "a; DROP TABLE x",
    "a::\"x) || getenv('HOME') || (1\"",
    "CAST(a AS other)",
    "a::json",
    "a::int[]",
    "a -> '$.x'",
    "[a]",
    "{'x': a}",
    "list_transform([1], x -> x)",
    "e'a'",
    "?",
    "$1",
    ":x",
    "date_diff('day'') + getenv(''HOME', a, a)",
    'EXTRACT("a b" FROM a)',
    "a COLLATE de",
    "repeat('x', 1000000000)",
    "printf('%s', a)",
    "ATTACH '/tmp/x'",
    "COPY x TO '/tmp/x'",
    "PRAGMA version",
    "INSTALL httpfs",
]


@pytest.mark.parametrize("sql", HOSTILE)
def test_hostile_expressions_are_refused(sql: str) -> None:
    with pytest.raises(ValueError, match="expression"):
        check_expression(sql)


def test_every_function_of_the_engine_that_reads_something_else_is_refused() -> None:
    rows = connect().raw_sql("SELECT function_name, function_type, stability FROM duckdb_functions()").fetchall()
    pure = {name for name, kind, stability in rows if kind == "scalar" and stability == "CONSISTENT"}
    others = {name for name, _, _ in rows if name.isidentifier()} - pure
    assert {"read_csv", "current_setting", "random", "now", "sum"} <= others
    accepted = set()
    for name in sorted(others):
        for arguments in ("", "a", "'x'", "a, 'x'"):
            try:
                check_expression(f"{name}({arguments})")
            except ValueError:
                continue
            accepted.add(name)
    assert accepted <= {"date_add", "if", "nullif", "split_part"}  # macros over pure functions


CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")


@given(st.text(CHARACTERS, max_size=40), st.text(CHARACTERS, min_size=1, max_size=20))
def test_any_text_and_name_stay_values(text: str, name: str) -> None:
    """A quoted text is that text, and a quoted name is that column, whatever they contain."""
    rows = pa.table({name: ["found"]})
    literal = sqlglot.exp.Literal.string(text).sql("duckdb")
    column = sqlglot.exp.column(name, quoted=True).sql("duckdb")
    check_expression(f"{column} || {literal}")
    assert columns_in(column) == {name}
    engine = connect()
    derived = DerivedColumn(name="derived", description="", type="string", sql=f"{column} || {literal}")
    computed = with_derived_columns(ibis.memtable(rows), engine, [derived])
    assert engine.to_pyarrow(computed)["derived"].to_pylist() == [f"found{text}"]


def test_comments_are_not_passed_to_the_engine() -> None:
    engine = connect()
    derived = DerivedColumn(name="b", description="", type="string", sql="a /* remark */ -- ' \" */")
    computed = with_derived_columns(ibis.memtable({"a": ["1"]}), engine, [derived])
    assert "remark" not in str(ibis.to_sql(computed, dialect="duckdb"))
    assert engine.to_pyarrow(computed)["b"].to_pylist() == ["1"]


def test_engine_downloads_and_loads_no_extension() -> None:
    engine = connect()
    with pytest.raises(duckdb.Error, match=r"(?i)extension"):
        engine.raw_sql("SELECT * FROM read_csv('https://127.0.0.1:9/rows.csv')").fetchall()
    loaded = engine.raw_sql("SELECT extension_name FROM duckdb_extensions() WHERE loaded").fetchall()
    assert "httpfs" not in {name for (name,) in loaded}
