"""Texts that mean no value, and labels that differ slightly from the declared ones."""
# ruff: noqa: E501 - an input is one line

from __future__ import annotations

import datetime as dt
from typing import Any

from benchmarks.inputs.library import Input, Outcome, Refused, Right, csv_cell
from benchmarks.inputs.shop import CUSTOMERS, DAY, Shop

_NO_TOKENS: dict[str, Any] = {"null_tokens": []}


def _tokens(name: str, column: str, text: str, expected: str | None, **settings: Any) -> Input:
    return csv_cell(f"{name} in {column}", column, text, expected, **settings)


def _table(name: str, labels: list[str], expected: Outcome, other: list[str] | None = None, **settings: Any) -> Input:
    """Return the input of the labels of customers 1, 2, ... of a table without time.

    Args:
        name: The input's name.
        labels: The labels in the delivery.
        expected: The outcome; the value is the labels by customer, without those that are unknown.
        other: The declared labels of customers who have not churned.
        **settings: The settings of the source.
    """

    def deliver(shop: Shop) -> object:
        columns = {
            "customer_id": {"type": "string", "required": True},
            "churn": {"type": "string"},
            "age": {"type": "integer"},
        }
        customers = shop.sources["customers"]
        for key in ("event_time", "allow_no_rows"):
            del customers[key]
        customers.update({"kind": "snapshot", "columns": columns} | settings)
        del shop.sources["orders"], shop.yaml["project.yaml"]["snapshots"]
        del shop.yaml["checks.yaml"]["silver"]["orders"]
        shop.yaml["project.yaml"]["population"] = {"source": "customers"}
        label = {"kind": "column", "source": "customers", "column": "churn", "value": "yes"}
        shop.yaml["label.yaml"] = {"name": "churned", "description": "Left"} | label
        if other:
            shop.yaml["label.yaml"]["other_values"] = other
        training = shop.yaml["training.yaml"]
        del training["test_snapshots"]
        training["test_share"] = 0.2
        calculation = {"function": "attribute", "source": "customers", "column": "age"}
        age = {"name": "age", "description": "Age", "type": "derived", "calculation": calculation}
        shop.yaml["features.yaml"]["features"] = [age]
        rows = [f"{number},{label},40" for number, label in enumerate(labels, 1)]
        shop.write(f"customers/{DAY}.csv", "\n".join(["customer_id,churn,age", *rows]) + "\n")
        shop.ingest()
        return {key.split()[1]: label for key, label in shop.labels().items()}

    return Input(name, deliver, expected)


def _changes(name: str, old: str, new: str, expected: Outcome) -> Input:
    """Return the input of a changed text in the customers of the first day; customer 2 leaves a day later.

    Args:
        name: The input's name.
        old: The replaced text.
        new: Its replacement.
        expected: The outcome; the value is the labels of the first day.
    """

    def deliver(shop: Shop) -> object:
        shop.write(f"customers/{DAY}.csv", CUSTOMERS.replace(old, new))
        days = [DAY + dt.timedelta(days=ahead) for ahead in range(4)]
        leaver = (
            CUSTOMERS.splitlines()[0] + f"\n2,{new if old == 'left' else 'left'},pro,2025-06-01,2026-03-02 09:00:00\n"
        )
        shop.write(f"customers/{days[1]}.csv", leaver)
        for day in days:
            shop.write(f"orders/{day}.csv", ",".join(shop.orders["columns"]) + "\n")
        shop.ingest(days[0], days[-1])
        return {key: label for key, label in shop.labels().items() if key.startswith(str(DAY))}

    return Input(name, deliver, expected)


INPUTS = [
    *(_tokens(token, "customer_id", token, "required:customer_id") for token in ("NA", "NULL", "None", r"\N", "nan", "#N/A", "  ", "\u00a0")),
    *(_tokens(token, "qty", token, None) for token in ("NULL", "n/a", "<NA>", "NaT")),
    _tokens("NULL within blanks", "note", " NULL ", None),
    _tokens("word that is no token", "note", "none", "none"),
    _tokens("? without a declaration", "qty", "?", "type:qty"),
    _tokens("? with a declaration", "qty", "?", None, null_tokens=["?"]),
    _tokens("999 with a declaration", "qty", "999", None, null_tokens=["999"]),
    _tokens("NA without tokens", "note", "NA", "NA", **_NO_TOKENS),
    _tokens("NULL as an id without tokens", "customer_id", "NULL", "NULL", **_NO_TOKENS),
    _tokens("NaN without tokens", "score", "NaN", "type:score", **_NO_TOKENS),
    _table("label of two values", ["yes", "no", "no"], Right({"1": "1", "2": "0", "3": "0"})),
    _table("label NA", ["yes", "no", "NA"], Right({"1": "1", "2": "0"})),
    _table("label NULL", ["yes", "no", "NULL"], Right({"1": "1", "2": "0"})),
    _table("label empty", ["yes", "no", ""], Right({"1": "1", "2": "0"})),
    _table("label ? with a declaration", ["yes", "no", "?"], Right({"1": "1", "2": "0"}), null_tokens=["?"]),
    _table("label after a no-break space", ["\u00a0yes", "no "], Right({"1": "1", "2": "0"})),
    _table("label Yes beside yes", ["yes", "Yes", "no"], Refused("'Yes'", "'yes'", "churn", "1")),
    _table("label YES instead of yes", ["YES", "YES", "no"], Refused("'YES'", "'yes'", "churn", "2")),
    _table("label No beside no", ["yes", "no", "No"], Refused("'No'", "'no'", "churn"), ["no"]),
    _table("third label", ["yes", "no", "maybe"], Refused("'maybe'", "'no'", "other_values")),
    _table("third label, named", ["yes", "no", "maybe"], Right({"1": "1", "2": "0", "3": "0"}), ["no", "maybe"]),
    _table("third label, unknown", ["yes", "no", "maybe"], Right({"1": "1", "2": "0"}), ["no"]),
    _table("no label of the churned value", ["no", "no"], Right({"1": "0", "2": "0"}), ["no"]),
    _changes("leaver", "left", "left", Right({f"{DAY} 1": "0", f"{DAY} 2": "1"})),
    _changes("leaver in capitals", "left", "Left", Refused("'Left'", "'left'", "status")),
    _changes("leaver with a blank", "left", "left ", Right({f"{DAY} 1": "0", f"{DAY} 2": "1"})),
    _changes("population in capitals", "1,active", "1,Active", Refused("'Active'", "'active'", "status")),
]  # fmt: skip
