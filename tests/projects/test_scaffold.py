"""A project created from a table: inferred types and values, and a valid result."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import math
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from include.days import DayRange
from include.errors import ChurnflowError
from include.features.gold import build_gold
from include.features.labels import build_labels
from include.lake import Lake
from include.lake.table_names import LABELS_TABLE
from include.projects import Project, ProjectError, Source, load_project
from include.projects.loader import examine_project
from include.projects.scaffold import MAX_CATEGORIES, new_project
from include.projects.sources import NULL_TOKENS
from tests.world import ingest

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


def source_of(root: Path) -> dict[str, Any]:
    return yaml.safe_load((root / "shop" / "sources.yaml").read_text())["sources"]["customers"]


def write(path: Path, lines: list[str], encoding: str = "utf-8") -> Path:
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


def test_dialect_is_guessed_and_written(tmp_path: Path) -> None:
    rows = [
        f"K{at};{at},5;{at % 28 + 1:02}.03.2026;Köln;{'?' if at % 3 else at};{'ja' if at % 4 else 'nein'}"
        for at in range(40)
    ]
    path = write(tmp_path / "dump.csv", ["id;betrag;datum;ort;alter;weg", *rows], "cp1252")
    project = make(tmp_path, path, ("weg", "ja"))
    source = source_of(tmp_path)
    assert source["files"] == {
        "format": "csv",
        "path": "customers/{day}.csv",
        "encoding": "cp1252",
        "separator": ";",
        "decimal_separator": ",",
    }
    assert (source["date_order"], source["null_tokens"][-1]) == ("dmy", "?")
    types = [column.type for column in project.sources["customers"].columns.values()]
    assert types == ["string", "number", "date", "string", "integer", "string"]
    features = {spec.name: spec for spec in project.features}
    assert (features["betrag"].maximum, features["alter"].maximum) == (59, 59)


@pytest.mark.parametrize(
    ("values", "key", "expected"),
    [
        (["1.5", "2"], "decimal_separator", "."),
        (["1,234", "2,500"], "decimal_separator", "."),  # perhaps thousands
        (["1,25", "2,5"], "decimal_separator", ","),
        (["01/02/2026", "03/04/2026"], "date_order", "ymd"),  # unknown
        (["01/02/2026", "13/04/2026"], "date_order", "dmy"),
        (["01/02/2026", "04/13/2026"], "date_order", "mdy"),
        (["1", "unknown"], "null_tokens", (*NULL_TOKENS, "unknown")),
        (["1", "unknown", "-"], "null_tokens", NULL_TOKENS),
        (["1", "gold"], "null_tokens", NULL_TOKENS),
    ],
)
def test_dialect_is_guessed_only_without_doubt(tmp_path: Path, values: list[str], key: str, expected: Any) -> None:
    rows = [f'{at},"{values[at % len(values)]}",{"yes" if at % 2 else "no"}' for at in range(12)]
    source = make(tmp_path, write(tmp_path / "dump.csv", ["id,value,left", *rows])).sources["customers"]
    assert getattr(source if key in Source.model_fields else source.files, key) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["89490200000123450000", "89490200000123450001"], "string"),
        (["1234567890123456", "2"], "string"),
        (["007", "12"], "string"),
        (["01067", "80331"], "string"),
        (["123456789012345", "0"], "integer"),
        (["0.5", "-0.25"], "number"),
        (["36.900000000000006", "1"], "number"),
        (["1e300", "-1e300"], "number"),
        (["1e-12", "0"], "number"),
    ],
)
def test_numbers_that_are_identifiers_stay_texts(tmp_path: Path, values: list[str], expected: str) -> None:
    rows = [f"{at},{values[at % 2]},x,{'yes' if at % 2 else 'no'}" for at in range(12)]
    project = make(tmp_path, write(tmp_path / "dump.csv", ["id,value,kind,left", *rows]))
    assert project.sources["customers"].columns["value"].type == expected
    spec = next(spec for spec in project.features if spec.name == "value")
    if expected != "string":
        assert all(spec.minimum <= float(value) and (spec.maximum or math.inf) >= float(value) for value in values)


def test_compressed_table_keeps_its_extension(tmp_path: Path) -> None:
    path = tmp_path / "dump.csv.gz"
    path.write_bytes(gzip.compress(table(tmp_path).read_bytes()))
    assert make(tmp_path, path).sources["customers"].files.path == "customers/{day}.csv.gz"


@pytest.mark.parametrize(
    ("label", "kind", "expected"),
    [
        (["yes", "no"], ["gold", "basic"], "integer"),
        (["yes", "none"], ["gold", "basic"], "string"),
        (["yes", "no"], ["gold", "none"], "string"),
        (["1", "none"], ["gold", "basic"], "string"),
    ],
)
def test_a_category_is_no_placeholder(tmp_path: Path, label: list[str], kind: list[str], expected: str) -> None:
    rows = [f"{at},{at if at % 3 else 'none'},{kind[at % 2]},{label[at // 2 % 2]}" for at in range(12)]
    project = make(tmp_path, write(tmp_path / "dump.csv", ["id,age,kind,left", *rows]), ("left", label[0]))
    source = project.sources["customers"]
    assert source.columns["age"].type == expected
    assert ("none" in source.null_tokens) == (expected == "integer")
    assert project.label.other_values == label[1:]
    assert next(spec for spec in project.features if spec.name == "kind").categories == sorted(kind)


@pytest.mark.parametrize(
    ("separator", "first", "second", "types", "decimal_separator"),
    [
        (";", ["1.234", "2.500"], ["1", "2"], ["string", "integer"], "."),
        (";", ["1.234", "500"], ["1", "2"], ["string", "integer"], "."),
        (";", ["-1.234", "12.345.678"], ["1", "2"], ["string", "integer"], "."),
        (";", ["1.234", "2.500"], ["1,5", "2"], ["string", "number"], ","),
        ("\t", ["1.234", "2.500"], ["1,5", "2"], ["string", "number"], ","),
        ("\t", ["1.234", "2.500"], ["1", "2"], ["number", "integer"], "."),
        (",", ["1.234", "2.500"], ["1", "2"], ["number", "integer"], "."),
        (";", ["1.234", "2.500"], ["1.5", "2"], ["number", "number"], "."),
        (";", ["0.125", "2.500"], ["1", "2"], ["number", "integer"], "."),
        (";", ["1.2345", "2.500"], ["1", "2"], ["number", "integer"], "."),
    ],
)
def test_points_that_may_separate_thousands_stay_texts(
    tmp_path: Path, separator: str, first: list[str], second: list[str], types: list[str], decimal_separator: str
) -> None:
    rows = [separator.join([str(at), first[at % 2], second[at % 2], "yes" if at % 3 else "no"]) for at in range(12)]
    header = separator.join(["id", "first", "second", "left"])
    source = make(tmp_path, write(tmp_path / "dump.csv", [header, *rows])).sources["customers"]
    assert [source.columns[name].type for name in ("first", "second")] == types
    assert source.decimal_separator == decimal_separator


ARCHIVE = io.BytesIO()
with zipfile.ZipFile(ARCHIVE, "w") as archive:
    archive.writestr("a.csv", "id,left")
    archive.writestr("b.csv", "id,left")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("dump.json", b'[{"id": 1, "left": "yes"}]'),
        ("dump.csv", b"id,left,a\n1,yes,2\n2,no\n"),
        ("dump.csv", b"id,left,left\n1,yes,2\n2,no,3\n"),
        ("dump.csv", b""),
        ("dump.jsonl", b'{"id": 1, "left": "yes"}\n{"id": 2,'),
        ("dump.parquet", b"PAR1 is damaged PAR1"),
        ("dump.csv.gz", gzip.compress(b"id,left\n1,yes\n")[:-9]),
        ("dump.zip", ARCHIVE.getvalue()),
    ],
    ids=["array", "ragged", "twins", "empty", "cut", "parquet", "gzip", "zip"],  # the archive contains the time
)
def test_remedy_for_an_unreadable_table_is_about_the_table(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ProjectError, match=r"Export the table again as CSV with a header, JSON lines or Parquet\.$"):
        make(tmp_path, tmp_path / name)
    assert not (tmp_path / "shop").exists()


def test_every_character_survives_in_headers_and_categories(tmp_path: Path) -> None:
    texts = [f"x{'x'.join(map(chr, range(first, first + 512)))}x" for first in range(1, 0x2100, 512)]
    values = {text: [f"x{texts[at % len(texts)]}" for at in range(40)] for text in texts}
    outcomes = ["yes\x85or" if at % 2 else "no" for at in range(40)]
    columns = {"id": [str(at) for at in range(40)], "left": outcomes, **values}
    pq.write_table(pa.table(columns), tmp_path / "dump.parquet")
    project = make(tmp_path, tmp_path / "dump.parquet", ("left", "yes\x85or"))
    source = project.sources["customers"]
    assert [source.delivered_name(name) for name in source.columns] == list(columns)
    assert {tuple(spec.categories) for spec in project.features} == {tuple(sorted(set(values[texts[0]])))}
    assert project.label.value == "yes\x85or"


def labelled(folder: Path, labels: list[str]) -> Path:
    return write(folder / "dump.csv", ["id,kind,left", *(f"{at},{at % 3},{text}" for at, text in enumerate(labels))])


def test_other_values_of_the_label_are_named(tmp_path: Path) -> None:
    label = make(tmp_path, labelled(tmp_path, ["yes", "no", "NA", "", "maybe", "no"])).label
    assert (label.value, label.other_values) == ("yes", ["maybe", "no"])


def test_label_values_that_differ_only_in_case_are_an_error(tmp_path: Path) -> None:
    path = labelled(tmp_path, ["yes", "Yes", "no", "YES ", "yes"])
    with pytest.raises(ProjectError, match=r"'yes' \(2 rows\), 'YES' \(1 row\), 'Yes' \(1 row\)"):
        make(tmp_path, path)
    assert not (tmp_path / "shop").exists()


def test_table_without_features_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="no column that can be a feature"):
        make(tmp_path, write(tmp_path / "dump.csv", ["id,left", "1,yes", "2,no"]))
    assert not (tmp_path / "shop").exists()


HEADERS = [
    *[
        "Churn?",
        "rate?",
        "x[1]",
        "price, net",
        "off",
        "null",
        ": a",
        "# b",
        "- c",
        "{d}",
        'say "hi"',
        "it's",
        "two\nlines",
    ],
    *[
        "\N{GRINNING FACE}",
        "long " * 60,
        "dt",
        "DT",
        "_file",
        "_row",
        "rules",
        "self",
        "customer_id",
        "Customer ID",
        "churned",
    ],
    *[
        "A",
        "a",
        " a",
        "a ",
        "Customer.ID",
        "größe",
        "1st",
        "yes",
        "1e3",
        "2020-01-01",
        "~",
        "*x",
        "&x",
        "!x",
        "%",
        "@",
        "|",
    ],
    *["dt_right", "a.b", "a b", "a-b", "select", "index", "number", "before", "value", "{window}", "unnamed column"],
]


def ingested(root: Path, path: Path) -> Project | None:
    """Create a project from a table and ingest the table; None if the table is refused before anything is written."""
    try:
        new_project("shop", path, customer="key", label=("outcome", "gone"), first_day=DAY, root=root)
    except ChurnflowError:
        assert not (root / "shop").exists()
        return None
    project, problems = examine_project("shop", root)
    assert project, problems
    day = DayRange(DAY, DAY)
    target = root / "landing" / project.sources["customers"].files.path.format(day=DAY)
    target.parent.mkdir(parents=True)
    target.write_bytes(path.read_bytes())
    lake = Lake(str(root / "lake"))
    ingest(project, lake, root / "landing", day, root / "reports")
    assert build_gold(project, lake, day, root / "reports").rows_refused == 0
    build_labels(project, lake, day)
    rows = lake.table(LABELS_TABLE).read(day, ["customer_id", "churned"]).to_pylist()
    known = [at for at in range(12) if at % 3 == 0 or project.label.other_values]
    assert {row["customer_id"]: row["churned"] for row in rows} == {f"K{at}": int(at % 3 == 0) for at in known}
    return project


def odd_table(headers: Sequence[str], other: str) -> pa.Table:
    columns = {"key": [f"K{at}" for at in range(12)], "outcome": ["gone" if at % 3 == 0 else other for at in range(12)]}
    values = [
        [str(at) if number % 2 else f"{'abc'[at % 3]}: {name}" for at in range(12)]
        for number, name in enumerate(headers)
    ]
    arrays = [*columns.values(), *values]
    return pa.table([pa.array(values) for values in arrays], names=[*columns, *headers])


def write_csv(table: pa.Table, path: Path) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows(
            [table.column_names, *zip(*table.to_pydict().values(), strict=True)]
        )
    return path


@pytest.mark.slow
def test_table_with_odd_headers_is_ingested(tmp_path: Path) -> None:
    table = odd_table(HEADERS, "1e3")
    project = ingested(tmp_path, write_csv(table, tmp_path / "dump.csv"))
    assert project is not None
    source = project.sources["customers"]
    assert [source.delivered_name(name) for name in source.columns] == table.column_names
    assert len(project.features) == len(HEADERS)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@pytest.mark.slow
@given(
    headers=st.lists(TEXTS | st.sampled_from(HEADERS), max_size=6, unique=True),
    other=TEXTS | st.sampled_from(["null", "no", "2026-01-01", "1e3", "true", "Gone"]),
    as_parquet=st.booleans(),
)
@settings(max_examples=12, deadline=None)
def test_a_new_project_accepts_its_own_table(headers: list[str], other: str, as_parquet: bool) -> None:
    table = odd_table([name for name in headers if name not in ("key", "outcome")], other)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "dump.parquet" if as_parquet else "dump.csv")
        pq.write_table(table, path) if as_parquet else write_csv(table, path)
        ingested(Path(folder), path)
