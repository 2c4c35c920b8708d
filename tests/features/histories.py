"""Random histories for the project in ``language``: late, duplicate and empty values, and events at window edges."""

import datetime as dt
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.features.language import FAILED, GIFT_OR_LARGE, project
from tests.features.reference import Row

FIRST = dt.date(2024, 1, 1)
LAST_OFFSET = 80
MIDNIGHT = dt.datetime.combine(FIRST, dt.time())
SNAPSHOTS = [FIRST + dt.timedelta(days=offset) for offset in (0, 29, 46, 60)]


# Days at window edges of the snapshots, and random days.
offsets = st.one_of(
    st.sampled_from([0, 1, 15, 16, 22, 23, 28, 29, 30, 39, 40, 45, 46, 47, 53, 54, 59, 60, 61, 70, 71]),
    st.integers(0, LAST_OFFSET),
)
late = st.sampled_from([0, 0, 0, 0, 1, 2, 15])
clock = st.sampled_from([dt.time(0), dt.time(12, 30), dt.time(23, 59, 59, 999999)])
money = st.one_of(st.none(), st.decimals(-50, 300, places=2), st.sampled_from([Decimal("9.99"), Decimal("1e9")]))
moments = st.one_of(st.none(), st.tuples(offsets, clock), st.tuples(offsets, clock), st.tuples(offsets, clock))
products = st.sampled_from([None, "p1", "p2", "p3", "unknown"])
flags = st.sampled_from([None, True, False])
odd_floats = st.sampled_from([1e6 + 0.1, 1e6 + 0.2, float("nan"), float("inf")])

payments = st.fixed_dictionaries(
    {
        "when": moments, "late": late, "product": products, "amount": money, "fee": money, "gift": flags,
        "units": st.sampled_from([None, 0, 1, 2, 3, -4]),
        "rating": st.one_of(st.none(), odd_floats, st.floats(-5, 5)),
        "status": st.sampled_from([None, "failed", "paid"]),
    }
)  # fmt: skip
plans = st.fixed_dictionaries(
    {
        "when": st.tuples(offsets, clock), "late": late, "trial": flags, "price": money,
        "status": st.sampled_from([None, "active", "active", "paused", "gone"]),
        "seats": st.sampled_from([None, 0, 5]), "since": st.one_of(st.none(), offsets),
    }
)  # fmt: skip
devices = st.fixed_dictionaries(
    {
        "day": st.one_of(st.none(), offsets), "late": late,
        "device": st.sampled_from("ab"), "model": st.sampled_from(["m1", "m2"]),
    }
)  # fmt: skip
profiles = st.fixed_dictionaries(
    {
        "delivery": st.sampled_from([0, 29, 50]), "band": st.sampled_from([None, "x", "y"]),
        "income": st.one_of(st.none(), st.floats(0, 1e6)),
        "born": st.one_of(st.none(), st.dates(dt.date(1940, 1, 1), dt.date(2025, 1, 1))),
    }
)  # fmt: skip


def by_delivery(plan: dict[str, Any]) -> int:
    return min(plan["when"][0] + plan["late"], LAST_OFFSET)


def by_device(row: dict[str, Any]) -> tuple[str, int]:
    return row["device"], min((row["day"] or 0) + row["late"], LAST_OFFSET)


customers = st.fixed_dictionaries(
    {
        "payments": st.lists(payments, max_size=14),
        "plans": st.lists(plans, max_size=5, unique_by=by_delivery),
        "devices": st.lists(
            devices, max_size=4, unique_by=lambda row: (row["device"], (row["day"] or 0) + row["late"])
        ),
        "profiles": st.lists(profiles, max_size=3, unique_by=lambda row: row["delivery"]),
    }
)


def draw(examples: int) -> list[dict[str, Any]]:
    """Draw many customers at once, since compiling the features takes longer than computing more rows."""
    drawn: list[dict[str, Any]] = []

    @settings(
        max_examples=examples,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(customers, min_size=4, max_size=16))
    def collect(some: list[dict[str, Any]]) -> None:
        drawn.extend(some)

    collect()
    return drawn


def delivered(offset: int, late: int) -> dt.date:
    return FIRST + dt.timedelta(days=min(offset + late, LAST_OFFSET))


def silver(world: list[dict[str, Any]]) -> dict[str, list[Row]]:
    """Silver rows of the drawn customers; no event happens after its delivery day."""
    found: dict[str, list[Row]] = {"payments": [], "plans": [], "devices": [], "profiles": []}
    found["products"] = [
        {"product": product, "department": department, "price": price, "dt": FIRST + dt.timedelta(days=day)}
        for day, product, department, price in [
            (0, "p1", "a", Decimal(5)), (0, "p2", "b", None),
            (40, "p1", "b", Decimal(7)), (40, "p3", "c", Decimal("0.5")),
        ]
    ]  # fmt: skip
    for number, drawn in enumerate(world):
        person = {"person": f"c{number}"}
        for index, row in enumerate(drawn["payments"]):
            offset, at = row["when"] or (0, dt.time())
            kept = {key: value for key, value in row.items() if key not in ("when", "late")}
            moment = row["when"] and dt.datetime.combine(FIRST + dt.timedelta(days=offset), at)
            found["payments"].append(
                kept
                | person
                | {"payment": f"{number}-{index}", "paid_at": moment, "dt": delivered(offset, row["late"])}
            )
        for row in drawn["plans"]:
            moment = dt.datetime.combine(FIRST + dt.timedelta(days=row["when"][0]), row["when"][1])
            since = None if row["since"] is None else FIRST + dt.timedelta(days=row["since"])
            kept = {key: value for key, value in row.items() if key not in ("when", "late")}
            found["plans"].append(
                kept | person | {"since": since, "changed_at": moment, "dt": delivered(row["when"][0], row["late"])}
            )
        for row in drawn["devices"]:
            changed = None if row["day"] is None else FIRST + dt.timedelta(days=row["day"])
            found["devices"].append(
                person
                | {"device": f"{number}{row['device']}", "model": row["model"], "changed_on": changed}
                | {"dt": delivered(row["day"] or 0, row["late"])}
            )
        for row in drawn["profiles"]:
            kept = {key: value for key, value in row.items() if key != "delivery"}
            found["profiles"].append(kept | person | {"dt": FIRST + dt.timedelta(days=row["delivery"])})
    # Every source needs a delivery, even if no drawn customer has rows in the source.
    found["payments"].append({"payment": "0", "paid_at": MIDNIGHT, "dt": FIRST})
    found["plans"].append({"person": "-", "status": "gone", "changed_at": MIDNIGHT, "dt": FIRST})
    found["devices"].append({"device": "-", "person": "-", "changed_on": FIRST, "dt": FIRST})
    for offset in (0, 29, 50):
        found["profiles"].append({"person": "-", "dt": FIRST + dt.timedelta(days=offset)})
    columns = {name: spec.columns for name, spec in project().sources.items()}
    return {name: [dict.fromkeys(columns[name]) | row for row in rows] for name, rows in found.items()}


def finite(value: float | None) -> float | None:
    return None if value is None or value != value or value in (float("inf"), float("-inf")) else value


def decimal(value: float) -> Decimal:
    return Decimal(repr(value)).quantize(Decimal("0.0001"), ROUND_HALF_UP)


def derive_payment(row: Row) -> Row:
    row = row | {"rating": finite(row["rating"])}
    net = None if row["amount"] is None else row["amount"] - (row["fee"] or 0)
    large = None if net is None or row["price"] is None else net > row["price"]
    each = None if row["amount"] is None or not row["units"] else decimal(float(row["amount"]) / row["units"])
    score = None if row["rating"] is None else decimal(row["rating"])
    kind = "bad" if row["status"] == "failed" else "gift" if row["gift"] else None
    return row | {"net": net, "large": large, "each": each, "score": score, "kind": kind}


def gift_or_large(row: Row) -> bool:
    several = row["units"] is not None and row["units"] > 2
    return bool(row["gift"]) or (several and row["department"] is not None and row["department"] != "b")


DERIVE = {
    "payments": derive_payment,
    "plans": lambda row: row | {"value": None if None in (row["price"], row["seats"]) else row["price"] * row["seats"]},
    "profiles": lambda row: row | {"month": row["born"] and row["born"].month},
}
SATISFIES = {FAILED: lambda row: row["status"] == "failed", GIFT_OR_LARGE: gift_or_large}


def history(rows: dict[str, list[Row]], customer: str) -> list[Row]:
    return [row for some in rows.values() for row in some if row.get("person") == customer]


def agrees(found: Any, expected: Any) -> bool:
    if isinstance(found, float) and isinstance(expected, float):
        return found == pytest.approx(expected, rel=1e-9, abs=1e-6)
    return found == expected
