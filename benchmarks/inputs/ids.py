"""Ids of one customer that are written in different ways in two sources."""
# ruff: noqa: E501 - an input is one line

from __future__ import annotations

import pyarrow as pa

from benchmarks.inputs.library import Input, Outcome, Refused, Right, csv_text, parquet_bytes, parquet_order
from benchmarks.inputs.shop import CUSTOMERS, DAY, ORDER, Shop


def _ids(
    name: str,
    customer: str,
    order: str | pa.Array,
    expected: Outcome,
    types: tuple[str, str] = ("string", "string"),
    by: str = "1",
) -> Input:
    """Return the input of a customer and an order.

    Args:
        name: The input's name.
        customer: The id in the customers.
        order: The id in the orders, as text or as an array for Parquet.
        expected: The outcome; the value is the number of the customer's orders in gold.
        types: The declared types of the ids.
        by: The customer's id in gold.
    """

    def deliver(shop: Shop) -> object:
        for source, kind in zip(("customers", "orders"), types, strict=True):
            shop.sources[source]["columns"]["customer_id"]["type"] = kind
        shop.write(f"customers/{DAY}.csv", CUSTOMERS.replace("1,active", f'"{customer}",active'))
        if isinstance(order, str):
            shop.write(f"orders/{DAY}.csv", csv_text([ORDER | {"customer_id": order}]))
        else:
            shop.orders["files"] = {"format": "parquet", "path": "orders/{day}.parquet"}
            shop.write(f"orders/{DAY}.parquet", parquet_bytes(parquet_order(customer_id=order)))
        shop.ingest()
        return shop.gold("orders_7d").get(f"{DAY} {by}")

    return Input(name, deliver, expected)


_INTEGERS = ("integer", "integer")

INPUTS = [
    _ids("integers with leading zeros", "7", "007", Right("1.0"), _INTEGERS, by="7"),
    _ids("integers as a double", "7", "7.0", Right("1.0"), _INTEGERS, by="7"),
    _ids("integers as a Parquet double", "7", pa.array([7.0]), Right("1.0"), _INTEGERS, by="7"),
    _ids("integers as Parquet int64", "9007199254740993", pa.array([9007199254740993]), Right("1.0"), _INTEGERS, by="9007199254740993"),
    _ids("texts with leading zeros", "7", "007", Right("0.0"), by="7"),
    _ids("texts as a double", "7", "7.0", Right("0.0"), by="7"),
    _ids("texts in another case", "A7", "a7", Right("0.0"), by="A7"),
    _ids("blank at the end", "7", "7 ", Right("1.0"), by="7"),
    _ids("no-break space at the end", "7", "7\u00a0", Right("1.0"), by="7"),
    _ids("zero-width space at the start", "7", "\u200b7", Right("1.0"), by="7"),
    _ids("byte-order mark at the start", "\ufeff7", "7", Right("1.0"), by="7"),
    _ids("integer and text", "7", "007", Refused("customer_id", "customers", "orders", "integer", "string"), ("integer", "string"), by="7"),
    _ids("text and number", "7", "7", Refused("customer_id", "customers", "orders", "string", "number"), ("string", "number"), by="7"),
]  # fmt: skip
