"""The log in a server process: predictions are written to segments, and failures of the log affect no request."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from prometheus_client import REGISTRY

from include.serving.prediction_log import log as log_module
from include.serving.prediction_log.collect import collect_predictions
from include.serving.prediction_log.segments import deliver_spool, segment_store, spool_folder, spooled_bytes
from include.training.model.bundle import Bundle
from tests.s3 import s3_server
from tests.serving.prediction_log.logs import TODAY, customers_of, delivered, group, log_all, running_log, settings_in


def customers_in(segments: list[Path]) -> list[str]:
    return [customer for path in segments for customer in pq.read_table(path)["customer_id"].to_pylist()]


def lost() -> float:
    return REGISTRY.get_sample_value("ml_prediction_log_lost_total") or 0.0


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.005)


def test_closing_writes_and_delivers_everything(bundle: Bundle, tmp_path: Path) -> None:
    settings = settings_in(tmp_path, flush_seconds=60)
    log_all(bundle, settings, group(bundle, ["a", "b"]), group(bundle, ["c"]))
    (segment,) = delivered(settings)
    assert customers_in([segment]) == ["a", "b", "c"]
    assert not list(spool_folder(settings).iterdir())


def test_files_are_readable_by_their_owner_only(bundle: Bundle, tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    log_all(bundle, settings, group(bundle, ["a"]))
    (segment,) = delivered(settings)
    assert segment.stat().st_mode & 0o777 == 0o600
    for folder in (segment.parent, segment.parent.parent, spool_folder(settings)):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_concurrent_appends_lose_nothing(bundle: Bundle, tmp_path: Path) -> None:
    settings = settings_in(tmp_path, flush_seconds=0.001)
    groups = [group(bundle, [f"{number}-{row}" for row in range(3)]) for number in range(300)]

    async def serve() -> None:
        async with running_log(bundle, settings) as log:
            with ThreadPoolExecutor(4) as threads:
                list(threads.map(log.append, groups))

    asyncio.run(serve())
    expected = sorted(customer for predictions in groups for customer in predictions.customer_ids)
    assert sorted(customers_in(delivered(settings))) == expected


def test_segments_are_delivered_while_the_server_runs(bundle: Bundle, tmp_path: Path) -> None:
    settings = settings_in(tmp_path)

    async def serve() -> None:
        async with running_log(bundle, settings) as log:
            for number in (1, 2):
                log.append(group(bundle, [str(number)]))
                await until(lambda: len(delivered(settings)) == number)  # noqa: B023

    asyncio.run(serve())
    assert sorted(customers_in(delivered(settings))) == ["1", "2"]


def test_large_buffer_is_written_before_the_interval_ends(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "_MAX_SEGMENT_ROWS", 2)
    settings = settings_in(tmp_path, flush_seconds=60)

    async def serve() -> None:
        async with running_log(bundle, settings) as log:
            log.append(group(bundle, ["a", "b"]))
            await until(lambda: bool(delivered(settings)))

    asyncio.run(serve())
    assert customers_in(delivered(settings)) == ["a", "b"]


def test_full_disk_loses_only_the_predictions_without_room(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, before = settings_in(tmp_path), lost()
    write = log_module.write_segment

    def disk_full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async def serve() -> None:
        async with running_log(bundle, settings) as log:
            log.append(group(bundle, ["first"]))
            await until(lambda: bool(delivered(settings)))
            monkeypatch.setattr(log_module, "write_segment", disk_full)
            log.append(group(bundle, ["lost"]))
            await until(lambda: lost() == before + 1)
            monkeypatch.setattr(log_module, "write_segment", write)
            log.append(group(bundle, ["last"]))

    asyncio.run(serve())
    assert sorted(customers_in(delivered(settings))) == ["first", "last"]


def test_spool_is_bounded_while_the_store_does_not_answer(bundle: Bundle, tmp_path: Path) -> None:
    unusable = tmp_path / "a file, not a folder"
    unusable.touch()
    settings, before = settings_in(tmp_path, uri=str(unusable), max_spool_bytes=20_000), lost()
    spool, appended = spool_folder(settings), []

    async def serve() -> None:
        async with running_log(bundle, settings) as log:
            while lost() == before:
                appended.append(str(len(appended)))
                log.append(group(bundle, appended[-1:]))
                await until(lambda: len(list(spool.glob("*.parquet"))) + lost() - before == len(appended))

    asyncio.run(serve())
    kept = customers_in(sorted(spool.iterdir()))
    assert 20_000 <= spooled_bytes(spool) < 20_000 * (1 + 1 / (len(kept) - 1)), "one segment may exceed the bound"
    unusable.unlink()
    assert deliver_spool(spool, segment_store(settings), settings.project) == len(kept)
    assert sorted(kept, key=int) == appended[:-1], "earlier predictions stay"
    assert not list(spool.iterdir())


def test_unusable_spool_is_logged_once(bundle: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    settings, before = settings_in(tmp_path, spool=str(tmp_path / "file" / "spool"), flush_seconds=0.001), lost()

    async def serve() -> None:
        async with running_log(bundle, settings) as log:
            for number in (1, 2, 3):
                log.append(group(bundle, ["a"]))
                await until(lambda: lost() == before + number)  # noqa: B023

    with caplog.at_level(logging.ERROR):
        asyncio.run(serve())
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR] == [
        "predictions not logged"
    ]


def test_predictions_beyond_the_memory_limit_are_lost(bundle: Bundle, tmp_path: Path) -> None:
    settings, before = settings_in(tmp_path, max_waiting_rows=4, flush_seconds=60), lost()
    log_all(bundle, settings, *(group(bundle, [f"{name}1", f"{name}2"]) for name in "abc"))
    assert customers_in(delivered(settings)) == ["a1", "a2", "b1", "b2"]
    assert lost() == before + 2


def test_next_start_delivers_segments_that_the_store_refused(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    settings = settings_in(tmp_path, uri=str(tmp_path / "log"))
    log_all(bundle, settings, group(bundle, ["a"]))
    (tmp_path / "log").unlink()
    log_all(bundle, settings, group(bundle, ["b"]))
    collect_predictions(settings)
    assert customers_of(settings) == ["a", "b"]


def test_incomplete_file_in_the_spool_is_not_delivered(bundle: Bundle, tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    spool = spool_folder(settings)
    spool.mkdir(parents=True)
    # write_atomically uses this name until the file is complete.
    (spool / f".{TODAY}.synthetic.7-abc.0.parquet.x7f").write_bytes(b"PAR1")
    (spool / "notes.parquet").touch()
    assert deliver_spool(spool, segment_store(settings), settings.project) == 0
    assert len(list(spool.iterdir())) == 2


def test_spool_and_destination_may_be_on_different_disks(bundle: Bundle, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        assert Path(memory).stat().st_dev != tmp_path.stat().st_dev
        settings = settings_in(tmp_path, spool=f"{memory}/spool")
        log_all(bundle, settings, group(bundle, ["a"]))
        assert not list(spool_folder(settings).iterdir())
    assert customers_in(delivered(settings)) == ["a"]


def test_disabled_log_writes_nothing(bundle: Bundle, tmp_path: Path) -> None:
    log_all(bundle, settings_in(tmp_path, enabled=False), group(bundle, ["a"]))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_destination_may_be_an_object_store(bundle: Bundle, tmp_path: Path) -> None:
    with s3_server("answers") as address:
        settings = settings_in(tmp_path, uri=f"{address}/log")
        log_all(bundle, settings, group(bundle, ["a"]), group(bundle, ["b"]))
        (name,) = segment_store(settings).segments()[TODAY]
        assert collect_predictions(settings).segments == 1
        assert customers_of(settings) == ["a", "b"]
        assert segment_store(settings).set_aside(name) == f"{address}/log/damaged/{name}"
        assert segment_store(settings).segments() == {}
