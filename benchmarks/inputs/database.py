"""Rows of a PostgreSQL table."""
# ruff: noqa: E501 - an input is one line

from __future__ import annotations

import datetime as dt
from typing import Any

from benchmarks.inputs.library import Input, Outcome, Refused, Right, outcome
from benchmarks.inputs.shop import DAY, NO_ORDER, Shop

_SECOND = DAY + dt.timedelta(days=1)

_ORDERS = """
CREATE TABLE orders (order_id text, customer_id text, amount numeric, qty bigint, score float8, note text, due date,
    gift boolean, ordered_at timestamptz, written_at timestamptz);
INSERT INTO orders VALUES ('a', '1', 12.5, 1, 0.5, 'text', '2026-03-05', true, '2026-03-01 10:00', '2026-03-01 10:00');
"""

_CUSTOMERS = """
CREATE TABLE customers (customer_id text, status text, plan text, signed_up date, updated_at timestamptz);
INSERT INTO customers VALUES
    ('1', 'active', 'basic', '2025-01-01', '2026-03-01 09:00'), ('2', 'active', 'pro', '2025-01-01', '2026-03-01 09:00');
"""


def _read_orders(shop: Shop, statements: str, column: str = "order_id") -> object:
    """Read the orders of the first day from a table, after some statements."""
    shop.declare(column)
    del shop.orders["files"]
    shop.orders["database"] = {"connection": "crm", "table": f"{shop.database}.orders", "watermark": "written_at"}
    shop.sql(_ORDERS + statements)
    shop.ingest_orders()
    return shop.silver(column)


def _cell(name: str, column: str, kind: str, value: str, expected: str | None, **settings: Any) -> Input:
    """Return the input of one value.

    Args:
        name: The input's name.
        column: The column.
        kind: The column's type in the database.
        value: The value in SQL.
        expected: See ``outcome``.
        **settings: The settings of the source.
    """

    def deliver(shop: Shop) -> object:
        shop.orders.update(settings)
        change = f"ALTER TABLE orders DROP {column}; ALTER TABLE orders ADD {column} {kind}; "
        return _read_orders(shop, f"{change} UPDATE orders SET {column} = {value};", column)  # noqa: S608 - own texts

    return Input(name, deliver, outcome(expected))


def _orders(name: str, statements: str, expected: Outcome, project: str = "UTC", **settings: Any) -> Input:
    """Return the input of the orders after some statements, in a project of a time zone."""

    def deliver(shop: Shop) -> object:
        shop.yaml["project.yaml"]["timezone"] = project
        shop.orders.update(settings)
        return _read_orders(shop, statements)

    return Input(name, deliver, expected)


def _named(name: str, column: str, expected: Outcome) -> Input:
    """Return the input of an amount in a column with an odd name."""

    def deliver(shop: Shop) -> object:
        shop.orders["columns"]["amount"]["delivered_as"] = column
        quoted = '"' + column.replace('"', '""') + '"'
        return _read_orders(shop, f"ALTER TABLE orders ADD {quoted} numeric; UPDATE orders SET {quoted} = 7;", "amount")  # noqa: S608 - own texts

    return Input(name, deliver, expected)


def _customers(name: str, kind: str, change: str, expected: dict[str, str]) -> Input:
    """Return the input of a change to the customers after the first day.

    Args:
        name: The input's name.
        kind: The kind of the source.
        change: The SQL statement.
        expected: The plans in gold on the second day.
    """

    def deliver(shop: Shop) -> object:
        customers = shop.sources["customers"]
        del customers["files"]
        customers |= {"kind": kind, "database": {"connection": "crm", "table": f"{shop.database}.customers"}}
        if kind == "snapshot":
            del customers["event_time"]
            shop.yaml["label.yaml"] = NO_ORDER
        else:
            customers["database"]["watermark"] = "updated_at"
        shop.sql(_CUSTOMERS)
        for day in (DAY, _SECOND):
            shop.write(f"orders/{day}.csv", ",".join(shop.orders["columns"]) + "\n")
        shop.ingest(DAY)
        shop.sql(change)
        shop.ingest(_SECOND)
        return {key.split()[1]: plan for key, plan in shop.gold("plan").items() if key.startswith(str(_SECOND))}

    return Input(name, deliver, Right(expected))


def _order(name: str, written_at: str) -> str:
    return f"INSERT INTO orders SELECT '{name}', '1', 1, 1, 1, '', '2026-03-05', true, '2026-03-01', '{written_at}';"


_BORDERS = "".join(
    [
        "DELETE FROM orders;",
        _order("b", "2026-02-28 14:59:59.999999+00"),
        _order("c", "2026-02-28 15:00:00+00"),
        _order("d", "2026-03-01 00:00:00+00"),
        _order("e", "2026-03-01 14:59:59.999999+00"),
        _order("f", "2026-03-01 15:00:00+00"),
        _order("g", "2026-03-01 23:59:59.999999+00"),
        _order("h", "2026-03-02 00:00:00+00"),
    ]
)
_NAIVE = "ALTER TABLE orders ALTER written_at TYPE timestamp USING written_at AT TIME ZONE 'UTC';"
_BACK_DATED = "UPDATE customers SET plan = 'pro' WHERE customer_id = '1';"
_DATED = "UPDATE customers SET plan = 'pro', updated_at = '2026-03-02 09:00' WHERE customer_id = '1';"
_DELETED = "DELETE FROM customers WHERE customer_id = '2';"

INPUTS = [
    # dates and times
    _cell("date infinity", "due", "date", "'infinity'", "type:due:infinite"),
    _cell("date minus infinity", "due", "date", "'-infinity'", "type:due:infinite"),
    _cell("date before Christ", "due", "date", "'0044-03-15 BC'", "type:due:year"),
    _cell("date in the year 20000", "due", "date", "'20000-01-01'", "type:due:year"),
    _cell("time infinity", "ordered_at", "timestamptz", "'infinity'", "type:ordered_at:infinite"),
    _cell("time minus infinity", "ordered_at", "timestamp", "'-infinity'", "type:ordered_at:infinite"),
    _cell("time before Christ", "ordered_at", "timestamptz", "'0044-03-15 10:00 BC'", "type:ordered_at:year"),
    _cell("time in the year 20000", "ordered_at", "timestamp", "'20000-01-01 10:00'", "type:ordered_at:year"),
    _cell("time with zone", "ordered_at", "timestamptz", "'2026-02-28 19:30-05'", "2026-03-01 00:30:00"),
    _cell("time without zone", "ordered_at", "timestamp", "'2026-03-01 10:00'", "2026-03-01 10:00:00"),
    _cell("time without zone in a source in Tokyo", "ordered_at", "timestamp", "'2026-03-01 10:00'", "2026-03-01 01:00:00", timezone="Asia/Tokyo"),
    _cell("date as a time", "due", "timestamptz", "'2026-03-05 10:00+00'", "type:due:time"),
    _cell("date as a midnight", "due", "timestamptz", "'2026-03-05 00:00+00'", "2026-03-05"),
    # numbers and texts
    _cell("numeric with ten places", "amount", "numeric(38, 10)", "1.2345678901", "type:amount:digits"),
    _cell("numeric with needless places", "amount", "numeric(38, 10)", "12.5", "12.5000"),
    _cell("numeric NaN", "amount", "numeric", "'NaN'", None),
    _cell("numeric infinity", "amount", "numeric", "'Infinity'", "type:amount:infinite"),
    _cell("numeric too large", "amount", "numeric", "1e20", "type:amount:range"),
    _cell("money", "amount", "money", "1234.5", "type:amount"),
    _cell("double", "amount", "float8", "36.900000000000006", "36.9000"),
    _cell("float", "amount", "float4", "0.1", "0.1000"),
    _cell("integer past a double in a text", "note", "bigint", "9007199254740993", "9007199254740993"),
    _cell("numeric past int64", "qty", "numeric", "9223372036854775808", "type:qty:range"),
    _cell("text that is padded", "note", "char(10)", "'x'", "x"),
    _cell("text NULL in a required column", "customer_id", "text", "'NULL'", "required:customer_id"),
    _cell("text with an id's zeros", "customer_id", "char(6)", "'007'", "007"),
    _cell("boolean", "gift", "boolean", "false", "False"),
    _cell("boolean as a bit", "gift", "bit(1)", "B'1'", "True"),
    _cell("JSON", "note", "json", """'{"a": 1.50}'""", '{"a": 1.50}'),
    _cell("text of a megabyte", "note", "text", "repeat('x', 1000000)", "x" * 1_000_000),
    # names
    _named("name that differs in case", "Amount", Right(["7.0000"])),
    _orders("name that no column has in this case", 'ALTER TABLE orders RENAME order_id TO "Order_ID";', Refused("'order_id'", "'Order_ID'", ".orders")),
    _named("name with a percent sign", "100%", Right(["7.0000"])),
    _named("name with a colon", "a:b", Right(["7.0000"])),
    _named("name with quotes", 'it\'s "5"', Right(["7.0000"])),
    # days
    _orders("watermarks at the borders of a day", _BORDERS, Right(["d", "e", "f", "g"])),
    _orders("watermarks at the borders of a day in Tokyo", _BORDERS, Right(["c", "d", "e"]), "Asia/Tokyo"),
    _orders("naive watermarks", _BORDERS + _NAIVE, Right(["d", "e", "f", "g"])),
    _orders("naive watermarks in a source in New York", _BORDERS + _NAIVE, Right(["d", "e", "f"]), timezone="America/New_York"),
    _orders("watermarks infinity", _order("b", "infinity") + _order("c", "-infinity"), Right(["a"])),
    _orders("watermark minus infinity alone", "UPDATE orders SET written_at = '-infinity';", Right([])),
    _orders("watermark before Christ", "UPDATE orders SET written_at = '0044-03-15 BC';", Right([])),
    _orders("watermark NULL", _order("b", "2026-03-01 10:00").replace("'2026-03-01 10:00'", "NULL"), Right(["a"])),
    # changes in place
    _customers("update, kind changes", "changes", _DATED, {"1": "pro", "2": "pro"}),
    _customers("update in the past, kind changes, is not seen", "changes", _BACK_DATED, {"1": "basic", "2": "pro"}),
    _customers("delete, kind changes, is not seen", "changes", _DELETED, {"1": "basic", "2": "pro"}),
    _customers("update in the past, kind snapshot", "snapshot", _BACK_DATED, {"1": "pro", "2": "pro"}),
    _customers("delete, kind snapshot", "snapshot", _DELETED, {"1": "basic"}),
]  # fmt: skip
