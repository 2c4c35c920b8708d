"""A project created from a table: inferred types and values, and a valid result."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.projects import ProjectError, load_project
from include.projects.scaffold import MAX_CATEGORIES, new_project

DAY = dt.date(2026, 1, 1)
ROWS = [
    # id, left, minutes, balance, calls, plan, joined, note, "Odd Name", empty
    ("1", "yes", "10.5", "-20", "3", "gold: 1", "2020-01-31", "a", "0.5", ""),
    ("2", "no", "300", "80", "", "no", "2021-02-28", "b", "0.25", ""),
    ("3", "no", "0", "0", "12", "yes", "", "c", "0.75", ""),
]
HEADER = "id,left,minutes,balance,calls,plan,joined,note,Odd Name,empty"


def table(folder: Path, header: str = HEADER, rows: list[tuple[str, ...]] = ROWS, notes: int = 30) -> Path:
    more = [
        (str(number), "no", "5", "5", "5", "no", "2022-01-01", f"note {number}", "1", "") for number in range(9, notes)
    ]
    path = folder / "dump.csv"
    path.write_text("\n".join([header, *(",".join(row) for row in [*rows, *more])]) + "\n")
    return path


def make(root: Path, path: Path, label: tuple[str, str] = ("left", "yes"), customer: str = "id"):
    new_project("shop", path, customer=customer, label=label, first_day=DAY, root=root)
    return load_project("shop", root)


def test_infers_types_ranges_and_categories(tmp_path: Path) -> None:
    project = make(tmp_path, table(tmp_path))
    types = {name: column.type for name, column in project.sources["customers"].columns.items()}
    assert types == {
        "id": "string",
        "left": "string",
        "minutes": "number",
        "balance": "integer",
        "calls": "integer",
        "plan": "string",
        "joined": "date",
        "note": "string",
        "Odd Name": "number",
        "empty": "string",
    }
    features = {spec.name: spec for spec in project.features}
    assert set(features) == {"minutes", "balance", "calls", "plan", "joined", "odd_name"}
    assert (features["minutes"].minimum, features["minutes"].maximum) == (0, 450)
    assert (features["balance"].minimum, features["balance"].maximum) == (-70, 130)
    assert features["plan"].categories == ["gold: 1", "no", "yes"]
    assert features["joined"].calculation.function == "days_since"
    assert not project.has_time
    assert (project.label.value, project.first_day) == ("yes", DAY)


def test_texts_with_many_values_are_no_features(tmp_path: Path) -> None:
    make(tmp_path, table(tmp_path, notes=9 + MAX_CATEGORIES))
    text = (tmp_path / "shop" / "features.yaml").read_text()
    assert f"# not a feature: note, a text with {MAX_CATEGORIES + 3} values" in text


def test_parquet_and_csv_give_the_same_project(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    ids = [str(number) for number in range(40)]
    plain = {
        "id": ids,
        "left": ["yes", "no"] * 20,
        "minutes": [number / 4 for number in range(40)],
        "active": [True, False] * 20,
    }
    pq.write_table(pa.table(plain), tmp_path / "dump.parquet")
    lines = [
        ",".join(map(str, row))
        for row in zip(ids, plain["left"], plain["minutes"], ["true", "false"] * 20, strict=True)
    ]
    (tmp_path / "dump.csv").write_text("\n".join(["id,left,minutes,active", *lines]) + "\n")
    parquet, csv = make(tmp_path / "a", tmp_path / "dump.parquet"), make(tmp_path / "b", tmp_path / "dump.csv")
    assert parquet.features == csv.features
    assert next(spec for spec in csv.features if spec.name == "active").categories == ["false", "true"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"customer": "customer"}, r"no column 'customer'.*'id', 'left'"),
        ({"customer": "plan"}, "different values of 'plan'"),
        ({"label": ("left", "gone")}, r"'left' has 2 values.*'gone' is not one of them"),
        ({"label": ("note", "a")}, "has 24 values"),
    ],
)
def test_invalid_table_writes_nothing(tmp_path: Path, change, expected: str) -> None:
    with pytest.raises(ProjectError, match=expected):
        make(tmp_path, table(tmp_path), **change)
    assert not (tmp_path / "shop").exists()


def test_existing_folder_is_not_overwritten(tmp_path: Path) -> None:
    make(tmp_path, table(tmp_path))
    before = (tmp_path / "shop" / "label.yaml").read_text()
    with pytest.raises(ProjectError, match="exists already"):
        make(tmp_path, table(tmp_path), label=("left", "no"))
    assert (tmp_path / "shop" / "label.yaml").read_text() == before
