"""Files of every format, in a folder and in an object store."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import socket
from pathlib import Path

import fsspec
import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError, ParamValidationError

from include.days import DayRange
from include.lake import Lake
from include.lake.table_names import DELIVERIES_TABLE
from include.sources.bronze import load_bronze
from include.sources.connections import Connections
from include.sources.errors import (
    ColumnError,
    CorruptFileError,
    EmptyFileError,
    MissingFileError,
    NoRowsError,
    SourceConnectionError,
)
from include.sources.storage import is_access_failure, no_access
from tests.sources.conftest import project_of, source
from tests.world import FIRST, grocery, transactions, write_csv, write_world

DAY = DayRange.single(FIRST)
NEXT = FIRST + dt.timedelta(days=1)
JSON_LINES = {"format": "jsonl", "path": "payments/{day}.jsonl"}


def write(landing: Path, name: str, content: str | bytes) -> Path:
    path = landing / "payments" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def load(lake: Lake, landing: Path | str, days: DayRange = DAY, **overrides: object) -> list[dict]:
    load_bronze(project_of(payments=source(**overrides)), lake, Connections(str(landing)), days)
    return lake.table("bronze/payments").read(days).sort_by([("dt", "ascending"), ("_row", "ascending")]).to_pylist()


def test_json_values_become_text_and_undeclared_keys_become_json(tmp_path, lake):
    lines = [
        {
            "payment_id": 1,
            "paid_at": "2017-01-01T08:00:00",
            "amount": 5.25,
            "note": {"to": [1]},
            "till": {"n": None},
        },
        {"paid_at": "2017-01-01T09:00:00", "payment_id": "2", "amount": None},
    ]
    write(tmp_path, f"{FIRST}.jsonl", "\n\n".join(json.dumps(line) for line in lines) + "\n")
    first, second = load(lake, tmp_path, files=JSON_LINES)
    assert (first["payment_id"], first["amount"], json.loads(first["note"])) == ("1", "5.25", {"to": [1]})
    assert json.loads(first["_undeclared"]) == {"till": {"n": None}}
    assert (second["payment_id"], second["amount"], second["note"], second["_undeclared"]) == ("2", None, None, None)
    assert (first["_file"], first["_row"], second["_row"]) == (f"{FIRST}.jsonl", 1, 2)


@pytest.mark.parametrize(
    "damage",
    ['{"payment_id": 3, "paid', "[1, 2]", "plain text", '{"payment_id": 1} {"payment_id": 2}', '"\udcff"'],
    ids=["cut", "array", "text", "two", "encoding"],
)
@pytest.mark.parametrize("sound_lines", [0, 150], ids=["at the head", "further down"])
def test_invalid_json_line_is_an_error_and_leaves_bronze_unchanged(tmp_path, lake, damage, sound_lines):
    sound = '{"payment_id": 1, "paid_at": "2017-01-01T08:00:00"}\n'
    write(tmp_path, f"{FIRST}.jsonl", sound)
    load(lake, tmp_path, files=JSON_LINES)
    before = lake.table("bronze/payments").version()
    write(tmp_path, f"{FIRST}.jsonl", (sound * sound_lines + damage + "\n").encode(errors="surrogateescape"))
    with pytest.raises(CorruptFileError, match=f"{FIRST}.jsonl"):
        load(lake, tmp_path, files=JSON_LINES)
    assert lake.table("bronze/payments").version() == before


def test_required_column_missing_from_all_json_lines_is_an_error(tmp_path, lake):
    write(tmp_path, f"{FIRST}.jsonl", '{"payment_id": 1, "when": "2017-01-01"}\n')
    with pytest.raises(ColumnError, match="paid_at"):
        load(lake, tmp_path, files=JSON_LINES)


def test_empty_json_lines_file_needs_allow_no_rows(tmp_path, lake):
    write(tmp_path, f"{FIRST}.jsonl", "")
    with pytest.raises(EmptyFileError):
        load(lake, tmp_path, files=JSON_LINES)
    assert load(lake, tmp_path, files=JSON_LINES, allow_no_rows=True) == []
    assert [row["rows"] for row in lake.table(DELIVERIES_TABLE).read(DAY).to_pylist()] == [0]


def test_delivery_without_rows_needs_allow_no_rows(tmp_path, lake):
    write(tmp_path, f"{FIRST}.csv", "payment_id,paid_at,amount,note\n")
    with pytest.raises(NoRowsError, match=str(FIRST)):
        load(lake, tmp_path)
    assert load(lake, tmp_path, allow_no_rows=True) == []


def test_reads_compressed_csv_with_byte_order_mark(tmp_path, lake):
    text = '\ufeffpayment_id,paid_at,amount,note\n7,2017-01-01 08:00:00,1.5,"a, b"\n'
    write(tmp_path, f"{FIRST}.csv.gz", gzip.compress(text.encode()))
    (row,) = load(lake, tmp_path, files={"format": "csv", "path": "payments/{day}.csv.gz"})
    assert (row["payment_id"], row["note"]) == ("7", "a, b")


def test_damaged_gzip_is_a_corrupt_file(tmp_path, lake):
    path = {"format": "csv", "path": "payments/{day}.csv.gz"}
    sound = gzip.compress(("payment_id,paid_at,amount,note\n" + "7,2017-01-01 08:00:00,1.5,x\n" * 5000).encode())
    for damaged in (b"no gzip at all", sound[:20], sound[: len(sound) // 2], sound[:100] + b"\0" * 50 + sound[150:]):
        write(tmp_path, f"{FIRST}.csv.gz", damaged)
        with pytest.raises(CorruptFileError, match=str(FIRST)):
            load(lake, tmp_path, files=path)


def test_columns_named_like_helper_columns_are_read_as_data(tmp_path, lake):
    write(tmp_path, f"{FIRST}.csv", "payment_id,paid_at,amount,note,filename,_n,path,dt\n7,x,1,n,f,2,3,d\n")
    (row,) = load(lake, tmp_path)
    assert json.loads(row["_undeclared"]) == {"filename": "f", "_n": "2", "path": "3", "dt": "d"}


def test_changes_need_one_file_per_day(tmp_path, lake):
    header = "payment_id,paid_at,amount,note\n"
    write(tmp_path, f"{FIRST}.csv", header + "1,2017-01-01 08:00:00,1,new\n")
    days = DayRange(FIRST, NEXT)
    with pytest.raises(MissingFileError, match=f"{NEXT}.csv"):
        load(lake, tmp_path, days, kind="changes")
    write(tmp_path, f"{NEXT}.csv", header + "1,2017-01-02 09:00:00,1,changed\n")
    assert [(row["dt"], row["note"]) for row in load(lake, tmp_path, days, kind="changes")] == [
        (FIRST, "new"),
        (NEXT, "changed"),
    ]


def test_day_in_the_path_may_be_a_folder(tmp_path, lake):
    write(tmp_path, f"{FIRST}/part.csv", "payment_id,paid_at,amount,note\n1,2017-01-01 08:00:00,1,x\n")
    (row,) = load(lake, tmp_path, files={"format": "csv", "path": "payments/{day}/part.csv"})
    assert row["_file"] == "part.csv"


@pytest.mark.slow
def test_object_store_gives_the_same_bronze_as_a_folder(tmp_path, bucket):
    days = DayRange(FIRST, FIRST + dt.timedelta(days=3))
    write_world(tmp_path / "landing", days)
    lines = [json.dumps({"payment_id": day.day, "paid_at": f"{day}T08:00:00", "till": 1}) for day in days]
    for day, line in zip(days, lines, strict=True):
        write(tmp_path / "landing", f"{day}.jsonl", line + "\n")
    project = project_of(payments=source(files=JSON_LINES), **grocery().sources)
    fsspec.url_to_fs(bucket)[0].put(str(tmp_path / "landing"), "deliveries/landing", recursive=True)
    near, far = Lake(str(tmp_path / "near")), Lake(str(tmp_path / "far"))
    load_bronze(project, near, Connections(str(tmp_path / "landing")), days)
    load_bronze(project, far, Connections(f"{bucket}/landing"), days)
    assert near.table("bronze/transactions").count() == sum(transactions(day).num_rows for day in days)
    for name in near.table_names():
        order = [("source" if name == DELIVERIES_TABLE else "_row", "ascending"), ("dt", "ascending")]
        left, right = (lake.table(name).read(days).sort_by(order) for lake in (near, far))
        assert left.equals(right), name


@pytest.mark.slow
def test_absolute_path_is_read_and_named_in_errors(tmp_path, lake, bucket):
    path = {"format": "csv", "path": f"{bucket}/own/{{day}}.csv"}
    with pytest.raises(MissingFileError, match=f"s3://deliveries/own/{FIRST}.csv"):
        load(lake, tmp_path, files=path)
    filesystem = fsspec.url_to_fs(bucket)[0]
    filesystem.pipe(f"deliveries/own/{FIRST}.csv", b"payment_id,paid_at,amount,note\n1,2017-01-01 08:00:00,1,x\n")
    assert [row["payment_id"] for row in load(lake, tmp_path, files=path)] == ["1"]
    filesystem.pipe(f"deliveries/own/{FIRST}.csv", b'payment_id,paid_at,amount,note\n1,"unclosed\n')
    with pytest.raises(CorruptFileError, match=f"s3://deliveries/own/{FIRST}.csv"):
        load(lake, tmp_path, files=path)


@pytest.mark.slow
def test_unreachable_object_store_is_an_error_without_credentials(tmp_path, lake, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key-of-a-person")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(SourceConnectionError, match="s3://nowhere") as caught:
        load(lake, "s3://nowhere")
    assert "very-secret" not in str(caught.value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.mark.parametrize(
    ("error", "can_retry"),
    [
        (PermissionError(13, "AccessDenied"), False),
        (OSError(22, "InvalidBucketName"), False),
        (ParamValidationError(report=""), False),
        (NoCredentialsError(), False),
        (OSError(16, "SlowDown"), True),
        (OSError(121, "InternalError"), True),
        (EndpointConnectionError(endpoint_url="http://nowhere"), True),
        (socket.gaierror(-3, "Temporary failure in name resolution"), True),
    ],
    ids=repr,
)
def test_only_storage_that_can_answer_later_is_retried(error, can_retry):
    assert is_access_failure(error)
    assert no_access("s3://deliveries", error).can_retry == can_retry


def test_unknown_protocol_is_an_error(lake):
    with pytest.raises(SourceConnectionError, match="no-such-protocol"):
        load(lake, "no-such-protocol://loft")


def test_excel_file_named_csv_is_corrupt(tmp_path, lake):
    write_csv(tmp_path, "payments", FIRST, ["x"])
    write(tmp_path, f"{FIRST}.csv", b"PK\x03\x04\xff\xfe\x00\x00")
    with pytest.raises(CorruptFileError):
        load(lake, tmp_path)
