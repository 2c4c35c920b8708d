"""The content of delivered files: names, dialects, encodings, compressions, and errors that state line and cause."""

from __future__ import annotations

import bz2
import datetime as dt
import gzip
import io
import itertools
import json
import lzma
import os
import zipfile
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from include.days import DayRange
from include.lake import Lake
from include.projects import Source
from include.projects.sources import Files
from include.sources.bronze import load_bronze
from include.sources.connections import Connections
from include.sources.errors import ColumnError, CorruptFileError, MissingFileError
from include.sources.guess_format import guess_files
from include.sources.read_files import read_local_file
from tests.sources.conftest import project_of, source
from tests.world import FIRST

DAY = DayRange.single(FIRST)
HEADER = "payment_id,paid_at,amount,note\n"
ROW = "7,2017-01-01 08:00:00,1.5,Zoë\n"


def zipped(content: bytes, *more: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in ("payments.csv", *more):
            archive.writestr(name, content)
    return stream.getvalue()


def zstd(content: bytes) -> bytes:
    stream = pa.BufferOutputStream()
    with pa.CompressedOutputStream(stream, "zstd") as file:
        file.write(content)
    return stream.getvalue().to_pybytes()


def load(lake: Lake, landing: Path, content: bytes, name: str = "{day}.csv", **overrides: object) -> list[dict]:
    files = {"format": "csv", "path": f"payments/{name}"} | overrides.pop("files", {})
    path = landing / files["path"].replace("{day}", str(FIRST))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    load_bronze(project_of(payments=source(files=files, **overrides)), lake, Connections(str(landing)), DAY)
    return lake.table("bronze/payments").read(DAY).sort_by("_row").to_pylist()


@pytest.mark.parametrize(
    ("files", "content"),
    [
        ({"separator": ";"}, (HEADER + ROW).replace(",", ";").encode()),
        ({"separator": "\t"}, (HEADER + ROW).replace(",", "\t").encode()),
        ({"separator": ";"}, b"sep=;\r\n" + (HEADER + ROW).replace(",", ";").encode()),
        ({}, b"sep=,\n" + (HEADER + ROW).encode()),
        ({"quote": "'"}, (HEADER + ROW.replace("Zoë", "'Zoë'")).encode()),
        ({"encoding": "cp1252"}, (HEADER + ROW).encode("cp1252")),
        ({"encoding": "utf-16"}, (HEADER + ROW).encode("utf-16")),
        ({"encoding": "utf-16-le"}, (HEADER + ROW).encode("utf-16-le")),
        ({}, (HEADER + ROW).encode("utf-8-sig")),
        ({}, ("\n" + HEADER + "\n\n" + ROW).encode()),
        ({}, (HEADER + ROW).replace("\n", "\r\n").encode()),
        ({}, (HEADER + ROW).replace("\n", "\r").encode()),
        ({}, (HEADER + ROW).rstrip("\n").encode()),
        ({"compression": "gzip"}, gzip.compress((HEADER + ROW).encode())),
        ({"compression": "bz2"}, bz2.compress((HEADER + ROW).encode())),
        ({"compression": "xz"}, lzma.compress((HEADER + ROW).encode())),
        ({"compression": "zip"}, zipped((HEADER + ROW).encode(), "__MACOSX/payments.csv")),
        ({"compression": "zstd"}, zstd((HEADER + ROW).encode())),
        ({"path": "payments/{day}.csv.zip"}, zipped((HEADER + ROW).encode())),
        ({"path": "payments/{day}.csv.zst"}, zstd((HEADER + ROW).encode())),
    ],
    ids=map(str, itertools.count()),
)
def test_declared_dialect_gives_the_same_row(tmp_path, lake, files, content):
    (row,) = load(lake, tmp_path, content, files=files)
    assert (row["payment_id"], row["amount"], row["note"], row["_row"]) == ("7", "1.5", "Zoë", 1)


def test_line_breaks_may_be_mixed(tmp_path, lake):
    rows = load(lake, tmp_path, HEADER.encode() + b'1,x,1,a\r\n2,x,1,"b\r\nc"\n3,x,1,d\r4,x,1,e')
    assert [row["note"] for row in rows] == ["a", "b\r\nc", "d", "e"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ((HEADER + ROW).replace(",", ";").encode(), ["separator: ';'", "line 1"]),
        (b"sep=;\n" + (HEADER + ROW).replace(",", ";").encode(), ["line 1 states the separator ';'"]),
        (HEADER.encode() + b"1,x,1,a\n2,x,1\n3,x,1,c\n", ["line 3 has 3 values instead of 4", "cut off"]),
        (HEADER.encode() + b"1,x,1,a\n2,x,1\n", ["line 3 has 3 values instead of 4", "the file was cut off"]),
        (HEADER.encode() + b"1,x,1,5,a\n", ["line 2 has 5 values instead of 4", "not in quotes"]),
        (HEADER.encode() + b"1,x,1,a,\n", ["line 2 has 5 values", "the line ends with a separator"]),
        (HEADER.encode() + b'1,x,1,a\n2,x,1,"b\n3,x,1,c\n', ["line 3", "quotes", "cut off"]),
        (HEADER.encode() + b'1,x,1,a\n2,x,1,"b', ["line 3", "quotes"]),
        (HEADER.encode() + b'1,x,1,"a"b\n', ["line 2", "quotes"]),
        (HEADER.encode() + b'1,x,1,"a\n2,x,1,"b\n', ["line 2", "quotes"]),
        (HEADER.encode() + b"1,x,1,a\n" + ROW.encode("cp1252"), ["line 3", "0xEB", "encoding: cp1252"]),
        ((HEADER + ROW).encode("utf-16"), ["utf-16", "encoding: utf-16"]),
        ((HEADER + ROW).encode("utf-16-be"), ["encoding: utf-16-be"]),
        (gzip.compress((HEADER + ROW).encode()), ["compressed with gzip", "compression: gzip"]),
        (zstd((HEADER + ROW).encode()), ["compression: zstd"]),
        (zipped((HEADER + ROW).encode()), ["compression: zip"]),
        (zipped(b"", "[Content_Types].xml"), ["an Excel workbook"]),
        (b"<!DOCTYPE html>\n<p>Not found</p>", ["a web page"]),
        (b"PAR1....", ["Parquet"]),
        (b"payment_id,paid_at,amount,note,note\n", ["columns 4 and 5 are both named 'note'"]),
        (b"# Payments\n" + (HEADER + ROW).encode(), ["'# Payments'", "a line of text before the header"]),
        (b"Payments,,,\n" + (HEADER + ROW).encode(), ["'Payments'", "a line of text before the header"]),
        (b"SEP=;\n" + (HEADER + ROW).encode(), ["states the separator ';'"]),
        (HEADER.encode() + b"1,x,1,a\n(1 row)\n", ["line 3 has 1 value", "ends with a line that is no row"]),
        (HEADER.encode() + b'1,x,1,"say \\"hi\\", x"\n', ["line 2", "a backslash"]),
        (b'[{"payment_id": 7}]', ["its content is JSON"]),
    ],
    ids=map(str, itertools.count()),
)
def test_error_states_line_finding_and_cause(tmp_path, lake, content, words):
    with pytest.raises(CorruptFileError) as caught:
        load(lake, tmp_path, content)
    assert [word for word in [*words, f"{FIRST}.csv"] if word not in str(caught.value)] == []
    assert not lake.table("bronze/payments").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('[{"payment_id": 1},\n{"payment_id": 2}]', ["line 1", "a JSON array"]),
        ('{\n"payment_id": 1\n}', ["line 1", "an object over several lines"]),
        ('{"payment_id": 1},\n{"payment_id": 2}', ["line 1", "a comma at the end of the line"]),
        (HEADER + ROW, ["line 1", "another format"]),
        ('{"payment_id": 1, "payment_id": 2}', ["line 1", "'payment_id' occurs twice"]),
        ('{"payment_id": 1, "paid_at": "x", "note": ' + "[" * 2000, ["line 1", "recursion"]),
    ],
    ids=map(str, itertools.count()),
)
def test_error_states_the_line_that_is_not_json(tmp_path, lake, content, words):
    with pytest.raises(CorruptFileError) as caught:
        load(lake, tmp_path, content.encode(), files={"format": "jsonl"})
    assert [word for word in words if word not in str(caught.value)] == []


def test_renamed_key_of_json_lines_is_an_error_that_names_both(tmp_path, lake):
    lines = '{"payment_id": 1, "paid_at": "x", "Amount": 5}\n' * 2
    with pytest.raises(ColumnError, match="'amount', but a column 'Amount'"):
        load(lake, tmp_path, lines.encode(), files={"format": "jsonl"})


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("text_format", ["csv", "jsonl"])
def test_byte_order_mark_is_removed(tmp_path, lake, encoding, text_format):
    text = HEADER + ROW if text_format == "csv" else '{"payment_id": 7, "paid_at": "x", "note": "Zoë"}'
    mark = "" if encoding in ("utf-16", "utf-32") else "\ufeff"
    (row,) = load(lake, tmp_path, (mark + text).encode(encoding), files={"format": text_format, "encoding": encoding})
    assert (row["payment_id"], row["note"]) == ("7", "Zoë")


def test_utf_16_without_a_byte_order_mark_is_an_error_that_names_the_encoding(tmp_path, lake):
    with pytest.raises(CorruptFileError, match="encoding: utf-16-le"):
        load(lake, tmp_path, (HEADER + ROW).encode("utf-16-le"), files={"encoding": "utf-16"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"encoding": "base64"},
        {"encoding": "undefined"},
        {"separator": "§"},
        {"separator": "\n"},
        {"quote": "“"},
        {"done_marker": "payments/{day}.csv"},
    ],
)
def test_check_refuses_settings_with_which_no_file_can_be_read(wrong):
    with pytest.raises(ValidationError):
        Files.model_validate({"format": "csv", "path": "payments/{day}.csv"} | wrong)


def test_day_may_occur_twice_in_the_path(tmp_path, lake):
    (row,) = load(lake, tmp_path, (HEADER + ROW).encode(), files={"path": "{day}/payments-{day}.csv"})
    assert row["_file"] == f"payments-{FIRST}.csv"


def test_encrypted_zip_is_a_corrupt_file(tmp_path, lake):
    content = bytearray(zipped((HEADER + ROW).encode()))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1  # the flag of an encrypted member
    with pytest.raises(CorruptFileError, match="encrypted"):
        load(lake, tmp_path, bytes(content), name="{day}.csv.zip")


def parquet(**columns: object) -> bytes:
    stream = io.BytesIO()
    default = {"payment_id": [7], "paid_at": ["x"], "amount": ["1"], "note": ["n"]}
    pq.write_table(pa.table(default | columns), stream, use_deprecated_int96_timestamps="spark" in columns)
    return stream.getvalue()


def test_times_of_spark_keep_their_years(tmp_path, lake):
    moments = pa.array([dt.datetime(2500, 1, 1)], pa.timestamp("us"))  # noqa: DTZ001 - naive in the file
    (row,) = load(lake, tmp_path, parquet(spark=[1], note=moments), files={"format": "parquet"})
    assert row["note"] == "2500-01-01 00:00:00"


@pytest.mark.parametrize("number", [2**53, -(2**53), 2**62])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_far_times_are_texts_with_their_year(tmp_path, lake, number, zone):
    moments = pa.array([number], pa.timestamp("ms", zone)).cast(pa.timestamp("ms", zone))
    (row,) = load(lake, tmp_path, parquet(note=moments, other=moments), files={"format": "parquet"})
    assert abs(int(row["note"].rsplit("-", 2)[0])) > 100_000


def test_binary_columns_of_parquet_are_utf_8_texts(tmp_path, lake):
    blob = pa.array([b"\xff\x00"], pa.binary())
    (row,) = load(lake, tmp_path, parquet(note=pa.array(["Zoë".encode()]), blob=blob), files={"format": "parquet"})
    assert row["note"] == "Zoë"
    with pytest.raises(CorruptFileError, match="'note' contains bytes that are not UTF-8"):
        load(lake, tmp_path, parquet(note=blob), files={"format": "parquet"})


def test_rare_types_of_parquet_become_texts(tmp_path, lake):
    content = parquet(
        amount=pa.array([1.5], pa.float16()),
        note=pa.array([Decimal("1.50")], pa.decimal256(50, 2)),
        other=pa.array([1.5], pa.float16()),
    )
    (row,) = load(lake, tmp_path, content, files={"format": "parquet"})
    assert (row["amount"], row["note"]) == ("1.5", "1.50")


@pytest.mark.parametrize(("files", "word"), [({"compression": "gzip"}, "gzip"), ({"compression": "zip"}, "zip")])
def test_content_that_is_not_compressed_as_declared_is_an_error(tmp_path, lake, files, word):
    with pytest.raises(CorruptFileError, match=word):
        load(lake, tmp_path, (HEADER + ROW).encode(), files=files)


def test_zip_archive_must_contain_one_file(tmp_path, lake):
    with pytest.raises(CorruptFileError, match="2 files instead of one"):
        load(lake, tmp_path, zipped(b"", "more.csv"), name="{day}.csv.zip")


def test_unreadable_rows_are_kept_with_reason_and_number(tmp_path, lake):
    content = HEADER.encode() + b"1,x,1,a\n2,x\n\n3,x,1,c\n4,x,1,d,e\n5,x,1,f\n"
    rows = load(lake, tmp_path, content, files={"unreadable_rows": "quarantine"})
    assert [(row["_row"], row["payment_id"]) for row in rows] == [(1, "1"), (2, None), (3, "3"), (4, None), (5, "5")]
    assert json.loads(rows[3]["_undeclared"])["_unreadable"] == {
        "reason": "5 values instead of 4",
        "text": "4,x,1,d,e",
    }


def test_unreadable_json_lines_are_kept_with_reason_and_number(tmp_path, lake):
    files = {"format": "jsonl", "path": "payments/{day}.jsonl", "unreadable_rows": "quarantine"}
    sound = '{"payment_id": %d, "paid_at": "x"}\n'
    content = sound % 1 + '{"payment_id": 2, "payment_id": 3}\n' + sound % 4 + '{"payment_id": 5, "pai'
    rows = load(lake, tmp_path, content.encode(), files=files)
    assert [(row["_row"], row["payment_id"]) for row in rows] == [(1, "1"), (2, None), (3, "4"), (4, None)]
    assert "'payment_id' occurs twice" in rows[1]["_undeclared"]


def test_json_numbers_keep_their_text(tmp_path, lake):
    line = """{"payment_id": 12345678901234567890123, "paid_at": "x", "amount": 1.50, "note": 0.1000000000000000055,
        "n": {"a": [1.0, 1e2]}}""".replace("\n", "")
    (row,) = load(lake, tmp_path, line.encode(), files={"format": "jsonl", "path": "payments/{day}.jsonl"})
    assert (row["payment_id"], row["amount"]) == ("12345678901234567890123", "1.50")
    assert (row["note"], row["_undeclared"]) == ("0.1000000000000000055", '{"n":{"a":[1.0,1e2]}}')


@pytest.mark.parametrize("name_format", ["parquet", "csv", "jsonl"])
def test_names_that_differ_in_case_are_different_columns(tmp_path, lake, name_format):
    values = {"AMOUNT": "9", "payment_id": "7", "amount": "1.5", "paid_at": "x", "Note": "y", "note": "n"}
    stream = io.BytesIO()
    pq.write_table(pa.table({name: [value] for name, value in values.items()}), stream)
    content = {
        "parquet": stream.getvalue(),
        "csv": (",".join(values) + "\n" + ",".join(values.values())).encode(),
        "jsonl": json.dumps(values).encode(),
    }[name_format]
    (row,) = load(lake, tmp_path, content, files={"format": name_format})
    assert (row["amount"], row["note"]) == ("1.5", "n")
    assert json.loads(row["_undeclared"]) == {"AMOUNT": "9", "Note": "y"}


@pytest.mark.parametrize("name", ["Amount", " amount", "amount ", "amo\u200bunt", "\u00a0amount"])
def test_similar_name_is_an_error_that_names_both(tmp_path, lake, name):
    with pytest.raises(ColumnError) as caught:
        load(lake, tmp_path, HEADER.replace("amount", name).encode() + b"7,x,1,n\n")
    assert "'amount'" in str(caught.value)
    assert repr(name) in str(caught.value)


def test_delivered_as_renames_a_column(tmp_path, lake):
    columns = source().model_dump()["columns"] | {"amount": {"type": "decimal", "delivered_as": " Amount, $"}}
    content = b'payment_id,paid_at," Amount, $",note\n7,x,1.5,n\n'
    (row,) = load(lake, tmp_path, content, columns=columns)
    assert (row["amount"], row["_undeclared"]) == ("1.5", None)


def test_columns_without_a_name_are_undeclared(tmp_path, lake):
    (row,) = load(lake, tmp_path, b",payment_id,paid_at,amount,note,\n0,7,x,1.5,n,\n")
    assert row["payment_id"] == "7"
    assert json.loads(row["_undeclared"]) == {"unnamed column 1": "0", "unnamed column 6": None}


@pytest.mark.parametrize("folder", ["orders[eu]", "orders*", "orders?", "a b%20c", "it's", "{x}"])
def test_path_is_not_a_pattern(tmp_path, lake, folder):
    for decoy in ("orderse", "orders1", "ordersx"):
        (tmp_path / decoy).mkdir()
        (tmp_path / decoy / f"{FIRST}.csv").write_bytes((HEADER + ROW).replace("7", "8").encode())
    (row,) = load(lake, tmp_path, (HEADER + ROW).encode(), files={"path": folder + "/{day}.csv"})
    assert row["payment_id"] == "7"


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
def test_parquet_times_do_not_depend_on_the_machine(tmp_path, lake, monkeypatch, zone):
    monkeypatch.setenv("TZ", zone)
    instant = dt.datetime(2017, 1, 1, 3, 30, tzinfo=dt.UTC)
    stream = io.BytesIO()
    table = pa.table(
        {
            "payment_id": [7],
            "paid_at": pa.array([instant], pa.timestamp("us", "Europe/Berlin")),
            "amount": [1.5],
            "note": pa.array([instant.replace(tzinfo=None)], pa.timestamp("ns")),
        }
    )
    pq.write_table(table, stream)
    (row,) = load(lake, tmp_path, stream.getvalue(), files={"format": "parquet"})
    assert (row["paid_at"], row["note"]) == ("2017-01-01 03:30:00+00", "2017-01-01 03:30:00")


def test_each_parquet_file_keeps_its_own_types(tmp_path, lake):
    (tmp_path / "payments").mkdir()
    days = DayRange(FIRST, FIRST + dt.timedelta(days=1))
    for day, value in zip(days, (pa.array([2**53 + 1]), pa.array([1.5])), strict=True):
        table = pa.table({"payment_id": value, "paid_at": ["x"], "amount": ["1"], "note": ["n"]})
        pq.write_table(table, tmp_path / "payments" / f"{day}.parquet")
    files = {"format": "parquet", "path": "payments/{day}.parquet"}
    load_bronze(project_of(payments=source(files=files)), lake, Connections(str(tmp_path)), days)
    rows = lake.table("bronze/payments").read(days).sort_by("dt")
    assert rows["payment_id"].to_pylist() == [str(2**53 + 1), "1.5"]


def test_incomplete_snapshot_is_named(tmp_path, lake):
    files = {"done_marker": "payments/{day}.done"}
    with pytest.raises(MissingFileError, match=f"{FIRST} is not complete.*{FIRST}.done"):
        load(lake, tmp_path, (HEADER + ROW).encode(), files=files, kind="snapshot", event_time=None)


def test_file_is_complete_when_its_marker_exists(tmp_path, lake):
    files = {"done_marker": "payments/{day}.done"}
    with pytest.raises(MissingFileError, match="not complete"):
        load(lake, tmp_path, (HEADER + ROW).encode(), files=files)
    (tmp_path / "payments" / f"{FIRST}.done").touch()
    assert len(load(lake, tmp_path, (HEADER + ROW).encode(), files=files)) == 1


def test_file_is_complete_when_it_has_not_changed_for_some_time(tmp_path, lake):
    files = {"min_age_seconds": 600}
    with pytest.raises(MissingFileError, match="not complete"):
        load(lake, tmp_path, (HEADER + ROW).encode(), files=files)
    path = tmp_path / "payments" / f"{FIRST}.csv"
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 601))
    load_bronze(
        project_of(payments=source(files={"format": "csv", "path": "payments/{day}.csv"} | files)),
        lake,
        Connections(str(tmp_path)),
        DAY,
    )
    assert lake.table("bronze/payments").count() == 1


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ((HEADER + ROW).encode(), {}),
        ((HEADER + ROW).replace(",", ";").encode(), {"separator": ";"}),
        ((HEADER + ROW).replace(",", "|").encode("cp1252"), {"separator": "|", "encoding": "cp1252"}),
        ((HEADER + ROW).replace(",", "\t").encode("utf-16"), {"separator": "\t", "encoding": "utf-16"}),
        (b"sep=;\n" + (HEADER + ROW).replace(",", ";").encode(), {"separator": ";"}),
        (gzip.compress((HEADER + ROW).encode()), {"compression": "gzip"}),
        ((HEADER + "'7, or 8',x,1,n\n").encode(), {"quote": "'"}),
        (b'{"payment_id": 7}\n', {"format": "jsonl"}),
        (b"payment_id\n7\n", {}),
    ],
    ids=map(str, itertools.count()),
)
def test_guesses_the_dialect(tmp_path, content, expected):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    files = guess_files(path)
    default = Files(format="csv", path="{day}.csv")
    keys = [key for key in Files.model_fields if key != "path"]
    assert {key: getattr(files, key) for key in keys if getattr(files, key) != getattr(default, key)} == expected
    table = read_local_file(Source.model_validate(source().model_dump() | {"files": files}), path)
    assert table["payment_id"].to_pylist() in (["7"], ["7, or 8"])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.tuples(*[st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)] * 2),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from(",;\t|"),
    st.sampled_from(["utf-8", "utf-16", "utf-8-sig"]),
)
def test_written_values_are_read_unchanged(tmp_path, values, separator, encoding):
    def quoted(value: str) -> str:
        return '"' + value.replace('"', '""') + '"'

    lines = [separator.join(map(quoted, row)) for row in [("a", "b"), *values]]
    path = tmp_path / "table.csv"
    path.write_bytes("\r\n".join(lines).encode(encoding))
    files = {"format": "csv", "path": "{day}.csv", "separator": separator, "encoding": encoding}
    table = read_local_file(source(files=files), path)
    assert list(zip(table["a"].to_pylist(), table["b"].to_pylist(), strict=True)) == values
