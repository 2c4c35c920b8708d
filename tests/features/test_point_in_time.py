"""A feature row of a day depends on nothing that happened, or became known, after that day."""

import datetime as dt
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from include.days import DayRange
from include.features.build import compute_features
from include.lake import Lake
from include.projects.features import Attribute
from tests.features.reference import Event, value
from tests.world import grocery

FIRST = dt.date(2024, 1, 1)
LAST = FIRST + dt.timedelta(days=130)
SNAPSHOTS = [FIRST + dt.timedelta(days=offset) for offset in (60, 88, 95, 102)]
DEPARTMENTS = {"1": ("GROCERY", "National"), "2": ("PRODUCE", "Private"), "3": ("FUEL", "National")}

SCHEMAS = {
    "transactions": pa.schema(
        [
            ("household_id", pa.string()),
            ("store_id", pa.string()),
            ("basket_id", pa.string()),
            ("product_id", pa.string()),
            ("quantity", pa.int64()),
            ("sales_value", pa.decimal128(18, 4)),
            ("retail_disc", pa.decimal128(18, 4)),
            ("coupon_disc", pa.decimal128(18, 4)),
            ("transaction_timestamp", pa.timestamp("us")),
            ("dt", pa.date32()),
        ]
    ),
    "coupon_redemptions": pa.schema(
        [("household_id", pa.string()), ("redemption_date", pa.date32()), ("dt", pa.date32())]
    ),
    "campaign_mailings": pa.schema(
        [("household_id", pa.string()), ("campaign_id", pa.string()), ("start_date", pa.date32()), ("dt", pa.date32())]
    ),
    "products": pa.schema(
        [("product_id", pa.string()), ("department", pa.string()), ("brand", pa.string()), ("dt", pa.date32())]
    ),
    "demographics": pa.schema(
        [("household_id", pa.string()), *((name, pa.string()) for name in (
            "age", "income", "home_ownership", "marital_status", "household_size", "household_comp", "kids_count"
        )), ("dt", pa.date32())]
    ),
}  # fmt: skip


def attacked(examples: int):
    """Every example builds a lake: few of them, and no shrinking, which would take minutes."""
    phases = [Phase.explicit, Phase.reuse, Phase.generate]
    return settings(max_examples=examples, phases=phases, deadline=None, suppress_health_check=list(HealthCheck))


money = st.decimals(min_value=0, max_value=300, places=2)
lines = st.fixed_dictionaries(
    {
        "customer": st.sampled_from(["a", "b", "c"]),
        "offset": st.integers(0, 130),
        "late": st.sampled_from([0, 0, 0, 0, 1, 9]),
        "store": st.sampled_from(["s1", "s2"]),
        "basket": st.sampled_from(["x", "y"]),
        "product": st.sampled_from(sorted(DEPARTMENTS)),
        "sales": money,
        "discount": money,
    }
)


def transaction(line: dict) -> dict:
    happened = FIRST + dt.timedelta(days=line["offset"])
    return {
        "household_id": line["customer"],
        "store_id": line["store"],
        "basket_id": f"{happened}{line['basket']}{line['customer']}",
        "product_id": line["product"],
        "quantity": 1,
        "sales_value": line["sales"],
        "retail_disc": line["discount"],
        "coupon_disc": Decimal("0"),
        "transaction_timestamp": dt.datetime.combine(happened, dt.time(12)),
        "dt": min(happened + dt.timedelta(days=line["late"]), LAST),
    }


def write_silver(lake: Lake, transactions: list[dict], mailings: list[dict] | None = None) -> None:
    days = DayRange(FIRST, LAST)
    tables = {
        "transactions": transactions,
        "campaign_mailings": mailings or [],
        "coupon_redemptions": [],
        "products": [
            {"product_id": product, "department": department, "brand": brand, "dt": FIRST}
            for product, (department, brand) in DEPARTMENTS.items()
        ],
        "demographics": [{"household_id": "a", "age": "45-54", "kids_count": "1", "dt": FIRST}],
    }
    for name, rows in tables.items():
        lake.table(f"silver/{name}").replace(days, pa.Table.from_pylist(rows, schema=SCHEMAS[name]))


def as_events(transactions: list[dict]) -> dict[str, list[Event]]:
    by_customer: dict[str, list[Event]] = {}
    for row in transactions:
        department, brand = DEPARTMENTS[row["product_id"]]
        event = {**row, "department": department, "brand": brand}
        event |= {"happened": row["transaction_timestamp"].date(), "known": row["dt"]}
        by_customer.setdefault(row["household_id"], []).append(event)
    return by_customer


def features_by_row(lake: Lake, days: list[dt.date]) -> dict[tuple[dt.date, str], dict]:
    rows = compute_features(grocery(), lake, days).to_pylist()
    return {(row["dt"], row["customer_id"]): row for row in rows}


@pytest.mark.slow
@attacked(12)
@given(st.lists(lines, min_size=1, max_size=60))
def test_features_equal_a_row_by_row_reference(tmp_path_factory, drawn):
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    transactions = [transaction(line) for line in drawn]
    write_silver(lake, transactions)
    project = grocery()
    found = features_by_row(lake, SNAPSHOTS)

    events = as_events(transactions)
    active = project.population.active_within_days
    expected = {
        (day, customer)
        for day in SNAPSHOTS
        for customer, theirs in events.items()
        if any(e["happened"] <= day and e["known"] <= day and (day - e["happened"]).days < active for e in theirs)
    }
    assert set(found) == expected
    for (day, customer), row in found.items():
        others: dict[str, float | None] = {}
        for spec in project.features:
            if isinstance(spec.calculation, Attribute):
                continue
            theirs = events[customer] if getattr(spec.calculation, "source", "transactions") == "transactions" else []
            others[spec.name] = value(spec, day, theirs, others)
            # the product takes a spread from sums of squares, which loses digits when values hardly differ
            tolerance = 1e-4 if spec.calculation.function == "std" else 1e-9
            if others[spec.name] is None or row[spec.name] is None:
                assert row[spec.name] is others[spec.name], spec.name
            else:
                assert row[spec.name] == pytest.approx(others[spec.name], rel=1e-6, abs=tolerance), spec.name


@pytest.mark.slow
@attacked(8)
@given(past=st.lists(lines, min_size=5, max_size=40), future=st.lists(lines, min_size=1, max_size=20))
def test_whatever_happens_or_becomes_known_later_changes_nothing(tmp_path_factory, past, future):
    day = SNAPSHOTS[1]
    cut = (day - FIRST).days
    before = [transaction({**line, "offset": line["offset"] % (cut + 1), "late": 0}) for line in past]
    later = [transaction({**line, "offset": cut + 1 + line["offset"] % (130 - cut)}) for line in future]
    known_later = [{**transaction({**line, "offset": line["offset"] % (cut + 1)}), "dt": LAST} for line in future]
    plain, attacked = (Lake(str(tmp_path_factory.mktemp("lake"))) for _ in range(2))
    write_silver(plain, before)
    write_silver(attacked, [*before, *later, *known_later])
    assert features_by_row(plain, [day]) == features_by_row(attacked, [day])


@pytest.mark.slow
def test_a_day_alone_and_among_others_is_the_same(tmp_path: Path):
    lake = Lake(str(tmp_path))
    line = {"late": 0, "store": "s1", "basket": "x", "sales": Decimal("9.99"), "discount": Decimal("0.10")}
    drawn = [{**line, "customer": "abc"[i % 3], "offset": (i * 37) % 120, "product": str(i % 3 + 1)} for i in range(90)]
    write_silver(lake, [transaction(one) for one in drawn])
    together = features_by_row(lake, SNAPSHOTS)
    alone = {key: row for day in SNAPSHOTS for key, row in features_by_row(lake, [day]).items()}
    assert together == alone
