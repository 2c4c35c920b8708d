"""Erasure from the tables of a project whose sources write the same id in different ways."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from include.days import DayRange
from include.lake import Lake
from include.privacy.customer import find_customer
from include.privacy.tables import erase_from_table, tables_of_customers, unsearched_tables
from include.projects import Project
from include.quality.silver import build_silver
from include.sources.bronze import load_bronze
from include.sources.connections import Connections
from tests.sources.conftest import project_of, source

DAY = dt.date(2024, 1, 5)
FILES = {"format": "csv", "unreadable_rows": "quarantine"}
# Payment, time and customer. Rows 1 to 4 are the customer's, row 5 cannot be read, rows 6 to 9 are of others.
PAYMENTS = "1,T,00123\n2,T, 123 \n3,never,123\n4,T,123.0\n5,T,123,x\n6,T,1230\n7,T,x\n8,T,\n123,T,9\n"
VISITS = "1,T,123\n2,T,\u00a0123\n3,T,00123\n4,T,1234\n"


@pytest.fixture
def project() -> Project:
    columns = {"payment_id": {"type": "string", "required": True}, "paid_at": {"type": "timestamp", "required": True}}
    payments, visits = (
        source(
            columns=columns | {"member": {"type": kind}},
            customer="member",
            files=FILES | {"path": f"{name}/{{day}}.csv"},
        )
        for name, kind in (("payments", "integer"), ("visits", "string"))
    )
    project = project_of(payments=payments, visits=visits)
    population = project.population.model_copy(update={"source": "payments"})
    gates = {name: {"minimum_pass_share": 0} for name in project.sources}
    return Project.model_validate(project.model_dump() | {"population": population.model_dump(), "checks": gates})


@pytest.fixture
def lake(project: Project, tmp_path: Path) -> Lake:
    for name, lines in (("payments", PAYMENTS), ("visits", VISITS)):
        path = tmp_path / "landing" / name / f"{DAY}.csv"
        path.parent.mkdir(parents=True)
        path.write_text("payment_id,paid_at,member\n" + lines.replace(",T", f",{DAY}T08:00:00"))
    lake = Lake(str(tmp_path / "lake"))
    load_bronze(project, lake, Connections(str(tmp_path / "landing")), DayRange.single(DAY))
    build_silver(project, lake, DayRange.single(DAY), tmp_path / "reports")
    return lake


def payments_in(lake: Lake, layer: str) -> list[str]:
    rows = lake.table(f"{layer}/payments").read([DAY])
    return sorted(str(value) for value in rows["payment_id"].to_pylist())


@pytest.mark.parametrize("spelling", ["123", "00123", " 123"])
def test_every_spelling_is_erased_from_every_layer(project: Project, lake: Lake, spelling: str) -> None:
    customer = find_customer(project, spelling)
    assert customer.customer_id == "123"
    found = {
        table.name: erase_from_table(table, of, customer.is_named, dt.timedelta(hours=2), dry_run=False).rows
        for table, of in tables_of_customers(project, lake)
    }
    assert found == {
        "bronze/payments": 5,
        "silver/payments": 3,
        "quarantine/payments": 2,
        "bronze/visits": 2,  # the column is text, so that 00123 is another customer
        "silver/visits": 2,
        **({"quarantine/visits": 0} if lake.table("quarantine/visits").exists() else {}),
    }
    assert payments_in(lake, "bronze") == ["123", "6", "7", "8"]
    assert payments_in(lake, "silver") == ["123", "6", "8"]
    assert payments_in(lake, "quarantine") == ["7"]
    assert "123" not in repr(customer)


def test_id_in_quarantine_is_erased_by_its_text(project: Project, lake: Lake) -> None:
    customer = find_customer(project, "x")
    found = {
        table.name: erase_from_table(table, of, customer.is_named, dt.timedelta(hours=2), dry_run=True).rows
        for table, of in tables_of_customers(project, lake)
    }
    # The unreadable row has a value x, too. It cannot be assigned to another customer.
    assert {name for name, rows in found.items() if rows} == {"bronze/payments", "quarantine/payments"}
    assert found["bronze/payments"] == found["quarantine/payments"] == 2


def test_tables_of_former_sources_are_named(project: Project, lake: Lake) -> None:
    assert unsearched_tables(project, lake) == []
    fewer = project.model_copy(update={"sources": {"payments": project.sources["payments"]}})
    assert unsearched_tables(fewer, lake) == ["bronze/visits", "silver/visits"]
