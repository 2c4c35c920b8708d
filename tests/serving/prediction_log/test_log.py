"""The log inside a process: what is appended is in the parts, and nothing of it stops the one who appends."""

from __future__ import annotations

import asyncio
import logging
import resource
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
from prometheus_client import REGISTRY

from include.serving.prediction_log.answers import part_schema
from include.serving.prediction_log.collect import collect_predictions
from include.serving.prediction_log.log import open_prediction_log
from include.serving.prediction_log.parts import PartStore, deliver_spool, part_store, spool_folder
from include.serving.prediction_log.spool import SpoolFile
from include.settings import Settings
from include.training.model.bundle import Bundle
from tests.s3 import s3_server
from tests.serving.prediction_log.logs import TODAY, customers_of, group, log_all, parts_of, settings_in


def logged(settings: Settings) -> list[str]:
    """The customers in the delivered parts, in their order."""
    return [
        customer
        for part in parts_of(settings)
        for customer in pa.ipc.open_stream(part.read_bytes()).read_all()["customer_id"].to_pylist()
    ]


def lost() -> float:
    return REGISTRY.get_sample_value("ml_prediction_log_lost_total") or 0.0


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """What a full disk does: a write takes what still fits, and the next one fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_is_appended_is_delivered_at_the_end(bundle: Bundle, tmp_path: Path) -> None:
    settings = settings_in(tmp_path, flush_seconds=60)
    log_all(bundle, settings, group(bundle, ["a", "b"]), group(bundle, ["c"]))
    assert logged(settings) == ["a", "b", "c"]
    assert not list(spool_folder(settings).iterdir())


def test_files_are_for_their_owner_alone(bundle: Bundle, tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    log_all(bundle, settings, group(bundle, ["a"]))
    (part,) = parts_of(settings)
    assert part.stat().st_mode & 0o777 == 0o600
    for folder in (part.parent, part.parent.parent, spool_folder(settings)):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_threads_that_append_at_once_lose_nothing(bundle: Bundle, tmp_path: Path) -> None:
    settings = settings_in(tmp_path, flush_seconds=0.001)
    groups = [group(bundle, [f"{number}-{row}" for row in range(3)]) for number in range(300)]

    async def server() -> None:
        log = open_prediction_log(bundle.contract, "7", "7-abc", settings)
        await log.start()
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(log.append, groups))
        await log.close()

    asyncio.run(server())
    assert sorted(logged(settings)) == sorted(customer for answers in groups for customer in answers.customer_ids)


def test_a_full_disk_costs_what_it_has_no_room_for_and_nothing_else(bundle: Bundle, tmp_path: Path) -> None:
    settings, before = settings_in(tmp_path), lost()
    schema = part_schema(bundle.contract, "7", None, True)

    async def server() -> None:
        log = open_prediction_log(bundle.contract, "7", "7-abc", settings)
        await log.start()
        log.append(group(bundle, ["first"]))
        await _until(lambda: _spool_size(settings) > len(schema.serialize()))
        with files_no_larger_than(_spool_size(settings) + 100):
            log.append(group(bundle, ["lost"]))
            await _until(lambda: lost() == before + 1)
        log.append(group(bundle, ["last"]))
        await log.close()

    asyncio.run(server())
    assert logged(settings) == ["first", "last"]


def test_a_store_that_does_not_answer_fills_the_spool_to_its_bound_and_no_further(
    bundle: Bundle, tmp_path: Path
) -> None:
    nowhere = tmp_path / "a file, not a folder"
    nowhere.touch()
    bound = len(part_schema(bundle.contract, "7", None, True).serialize()) + 5_000
    settings, before = settings_in(tmp_path, uri=str(nowhere), rotate_bytes=1, max_spool_bytes=bound), lost()

    async def server() -> None:
        log = open_prediction_log(bundle.contract, "7", "7-abc", settings)
        await log.start()
        for number in range(200):
            log.append(group(bundle, [str(number)]))
            await asyncio.sleep(0.005)
        await _until(lambda: lost() > before)
        await log.close()

    asyncio.run(server())
    assert bound <= _spool_size(settings) < bound + 20_000, "what was being written may go beyond"
    nowhere.unlink()
    assert deliver_spool(spool_folder(settings), part_store(settings)) > 0
    parts = [pa.ipc.open_stream(part.read_bytes()).read_all() for part in nowhere.glob("dt=*/*")]
    kept = sorted(int(customer) for part in parts for customer in part["customer_id"].to_pylist())
    assert kept == list(range(len(kept))), "what was there first stays"
    assert len(kept) + lost() - before == 200


@pytest.mark.parametrize("limit", [{"rotate_seconds": 0.01}, {"rotate_bytes": 1}])
def test_a_part_that_is_old_or_large_is_delivered_while_the_server_runs(
    bundle: Bundle, tmp_path: Path, limit: dict[str, float]
) -> None:
    settings = settings_in(tmp_path, **limit)

    async def server() -> None:
        log = open_prediction_log(bundle.contract, "7", "7-abc", settings)
        await log.start()
        log.append(group(bundle, ["a"]))
        await _until(lambda: logged(settings) == ["a"])
        log.append(group(bundle, ["b"]))
        await log.close()

    asyncio.run(server())
    assert sorted(logged(settings)) == ["a", "b"]
    assert len(parts_of(settings)) == 2


def _lost_is(total: float) -> bool:
    return lost() == total


async def _until(condition) -> None:  # type: ignore[no-untyped-def]
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


def _spool_size(settings: Settings) -> int:
    return sum(path.stat().st_size for path in spool_folder(settings).glob("*"))


def test_a_spool_that_cannot_be_made_is_said_once(
    bundle: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    settings, before = settings_in(tmp_path, spool=str(tmp_path / "file" / "spool"), flush_seconds=0.001), lost()

    async def server() -> None:
        log = open_prediction_log(bundle.contract, "7", "7-abc", settings)
        await log.start()
        for total in (before + 1, before + 2, before + 3):
            log.append(group(bundle, ["a"]))
            await _until(partial(_lost_is, total))
        await log.close()

    with caplog.at_level(logging.ERROR):
        asyncio.run(server())
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR] == [
        "answers not logged"
    ]


def test_memory_is_bounded(bundle: Bundle, tmp_path: Path) -> None:
    settings, before = settings_in(tmp_path, max_waiting_rows=4, flush_seconds=60), lost()
    log_all(bundle, settings, *(group(bundle, [f"{name}1", f"{name}2"]) for name in "abc"))
    assert logged(settings) == ["a1", "a2", "b1", "b2"]
    assert lost() == before + 2


def test_a_store_that_refuses_gets_the_parts_from_the_next_start(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    settings = settings_in(tmp_path, uri=str(tmp_path / "log"))
    log_all(bundle, settings, group(bundle, ["a"]))
    (tmp_path / "log").unlink()
    log_all(bundle, settings, group(bundle, ["b"]))
    collect_predictions(settings)
    assert customers_of(settings) == ["a", "b"]


def test_what_a_process_still_writes_is_not_taken_away(bundle: Bundle, tmp_path: Path) -> None:
    store = PartStore(str(tmp_path / "log"))
    part = SpoolFile(tmp_path / "spool", TODAY, "7-abc", part_schema(bundle.contract, "7", None, True))
    assert deliver_spool(tmp_path / "spool", store) == 0
    part.close()
    assert deliver_spool(tmp_path / "spool", store) == 1
    assert deliver_spool(tmp_path / "spool", store) == 0


def test_spool_and_log_may_lie_on_different_disks(bundle: Bundle, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        assert Path(memory).stat().st_dev != tmp_path.stat().st_dev
        settings = settings_in(tmp_path, spool=f"{memory}/spool")
        log_all(bundle, settings, group(bundle, ["a"]))
        (part,) = parts_of(settings)
        assert part.stat().st_mode & 0o777 == 0o600
        assert not list(spool_folder(settings).iterdir())
    assert logged(settings) == ["a"]


def test_a_log_that_is_off_writes_nothing(bundle: Bundle, tmp_path: Path) -> None:
    log_all(bundle, settings_in(tmp_path, enabled=False), group(bundle, ["a"]))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_log_may_lie_in_an_object_store(bundle: Bundle, tmp_path: Path) -> None:
    with s3_server("answers") as address:
        settings = settings_in(tmp_path, uri=f"{address}/log")
        log_all(bundle, settings, group(bundle, ["a"]), group(bundle, ["b"]))
        (name,) = part_store(settings).days()[TODAY]
        settings = settings_in(tmp_path, uri=f"{address}/log", keep_days=0)
        assert collect_predictions(settings).parts == 1
        assert customers_of(settings) == ["a", "b"]
        assert part_store(settings).put_aside(TODAY, name) == f"{address}/log/aside/{name}"
        assert part_store(settings).days() == {}
