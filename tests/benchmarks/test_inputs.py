"""A sample of the odd inputs of `make bench NAME=inputs`, and the verdicts on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.inputs import KINDS, all_inputs
from benchmarks.inputs.library import Input, Outcome, Quarantined, Refused, Right, judge
from benchmarks.inputs.run import deliver_all
from benchmarks.inputs.shop import Shop
from include.errors import ChurnflowError

EVERY = 20


def test_library_covers_all_kinds() -> None:
    names = list(all_inputs())
    assert len(names) >= 150
    assert {name.split(":")[0] for name in names} == set(KINDS)


def refuse(shop: Shop) -> object:
    raise ChurnflowError("Column 'Amount' is missing.", where="orders.csv", remedy="Deliver it.")


def crash(shop: Shop) -> object:
    raise KeyError("amount")


@pytest.mark.parametrize(
    ("deliver", "expected", "figure"),
    [
        (lambda _: ["1"], Right(["1"]), "right"),
        (lambda _: ["1"], Right(["2"]), "silent_wrong"),
        (lambda _: ["1"], Refused("amount"), "silent_wrong"),
        (lambda _: [], Quarantined("type:amount"), "silent_wrong"),
        (refuse, Refused("'Amount'", "orders.csv"), "refused_by_name"),
        (refuse, Refused("'amount'"), "silent_wrong"),
        (refuse, Right(["1"]), "silent_wrong"),
        (crash, Refused("amount"), "crashed"),
    ],
)
def test_verdicts(tmp_path: Path, deliver: object, expected: Outcome, figure: str) -> None:
    item = Input("odd", deliver, expected)  # type: ignore[arg-type]
    assert judge("odd", item, Shop(tmp_path, "nowhere")).figure == figure


@pytest.mark.slow
def test_sample_is_as_expected(tmp_path: Path, postgres_server: str) -> None:
    found = deliver_all(tmp_path, postgres_server, list(all_inputs())[::EVERY])
    assert [item for item in found if item.figure in ("silent_wrong", "crashed")] == []
