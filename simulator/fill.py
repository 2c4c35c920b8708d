"""Load the landing files of a world into a PostgreSQL schema, as the operational tables of a company."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Callable
from pathlib import Path

import psycopg2
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.json as pajson
import pyarrow.parquet as pq
from psycopg2 import sql
from psycopg2.extensions import cursor

from include.errors import ChurnflowError
from include.logs import get_logger
from simulator.delivery import FORMATS
from simulator.rows import SCHEMAS

log = get_logger(__name__)

WRITTEN = "written_at"
"""The column added to every table: the last second of the day of the file that contains the row."""

_TYPES = {
    pa.int64(): "bigint",
    pa.string(): "text",
    pa.date32(): "date",
    pa.timestamp("us"): "timestamp",
    pa.decimal128(10, 2): "numeric(10, 2)",
}


class FillError(ChurnflowError):
    """The landing files cannot be loaded into the database."""


def fill(
    landing: Path, database_url: str, schema: str, *, report: Callable[[str, dt.date, int], None] = lambda *_: None
) -> dict[str, int]:
    """Load every landing file into a schema, with one table per source.

    A table keeps every version of a row. Each day is replaced in one transaction, so that loading again changes
    nothing. A column that a table lacks is added; a column is altered if its type changes to text.

    Args:
        landing: The landing folder of the world.
        database_url: The database URL, which is not logged since it contains a password.
        schema: The schema; it is created if it does not exist.
        report: Called after each file with its source, its day and its number of rows.

    Returns:
        The number of loaded rows by table.

    Raises:
        FillError: There are no files, or the database cannot be reached or rejects a statement.
    """
    files = {source: sorted((landing / source).glob(f"*.{kind}")) for source, kind in FORMATS.items()}
    if not any(files.values()):
        raise FillError("There are no landing files.", where=str(landing), remedy="Generate a world there first.")
    loaded = dict.fromkeys(files, 0)
    try:
        # libpq does not accept the driver name of a SQLAlchemy URL.
        connection = psycopg2.connect(database_url.replace("postgresql+psycopg2://", "postgresql://", 1))
        try:
            for source, paths in files.items():
                with connection, connection.cursor() as at:
                    _make_table(at, schema, source)
                for path in paths:
                    rows, day = _read(path, source), dt.date.fromisoformat(path.stem)
                    with connection, connection.cursor() as at:
                        _replace_day(at, schema, source, day, rows)
                    loaded[source] += rows.num_rows
                    report(source, day, rows.num_rows)
        finally:
            connection.close()
    except psycopg2.Error as error:
        raise FillError(
            f"The database cannot be filled: {type(error).__name__}.",
            where=f"schema {schema}",
            remedy="Check the URL, the password and the privilege to create a schema.",
        ) from None  # the message of the driver may quote the URL
    log.info("database filled", extra={"schema": schema, "rows": loaded})
    return loaded


def _read(path: Path, source: str) -> pa.Table:
    schema = SCHEMAS[source]
    if path.suffix == ".parquet":
        return pq.read_table(path)
    if path.suffix == ".csv":
        return pacsv.read_csv(path, convert_options=pacsv.ConvertOptions(column_types=schema, strings_can_be_null=True))
    if not path.stat().st_size:
        return schema.empty_table()
    return pajson.read_json(path, parse_options=pajson.ParseOptions(explicit_schema=schema))


def _make_table(at: cursor, schema: str, source: str) -> None:
    types = {field.name: _TYPES[field.type] for field in SCHEMAS[source]} | {WRITTEN: "timestamp"}
    columns = [sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in types.items()]
    definition = sql.SQL(", ").join(columns)
    table = sql.Identifier(schema, source)
    at.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
    at.execute(sql.SQL("CREATE TABLE IF NOT EXISTS {} ({})").format(table, definition))
    index = sql.Identifier(f"{source}_{WRITTEN}")
    at.execute(sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} ({})").format(index, table, sql.Identifier(WRITTEN)))


def _replace_day(at: cursor, schema: str, source: str, day: dt.date, rows: pa.Table) -> None:
    table, written = sql.Identifier(schema, source), sql.Identifier(WRITTEN)
    _follow_schema(at, schema, source, rows.schema)
    moment = dt.datetime.combine(day, dt.time(23, 59, 59))
    at.execute(sql.SQL("DELETE FROM {} WHERE {} = %s").format(table, written), [moment])
    rows = rows.append_column(WRITTEN, pa.array([moment] * rows.num_rows, pa.timestamp("us")))
    text = io.BytesIO()
    pacsv.write_csv(rows, text, pacsv.WriteOptions(include_header=False))
    text.seek(0)
    names = sql.SQL(", ").join(map(sql.Identifier, rows.column_names))
    at.copy_expert(sql.SQL("COPY {} ({}) FROM STDIN WITH (FORMAT csv)").format(table, names), text)


def _follow_schema(at: cursor, schema: str, source: str, wanted: pa.Schema) -> None:
    at.execute(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = %s AND table_name = %s",
        [schema, source],
    )
    present = dict(at.fetchall())
    table = sql.Identifier(schema, source)
    for field in wanted:
        name = sql.Identifier(field.name)
        if field.name not in present:
            kind = sql.SQL(_TYPES[field.type])
            at.execute(sql.SQL("ALTER TABLE {} ADD COLUMN {} {}").format(table, name, kind))
        elif field.type == pa.string() and present[field.name] != "text":
            at.execute(sql.SQL("ALTER TABLE {} ALTER COLUMN {} TYPE text").format(table, name))
