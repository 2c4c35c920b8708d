from __future__ import annotations

import threading
from pathlib import Path

import pytest

from include.serving.deployment.pointer import PREVIOUS, BentoReference, PointerError, read_pointer, write_pointer

FIRST = BentoReference(bento="1-abc", model_version="1", path="/bentos/1-abc")
SECOND = BentoReference(bento="2-def", model_version="2", path="/bentos/2-def")


def test_there_is_no_pointer_before_the_first_deployment(tmp_path: Path) -> None:
    assert read_pointer(tmp_path / "absent") is None


def test_written_pointers_are_read_back_by_name(tmp_path: Path) -> None:
    write_pointer(tmp_path / "serving", FIRST)
    write_pointer(tmp_path / "serving", SECOND, PREVIOUS)
    assert read_pointer(tmp_path / "serving") == FIRST
    assert read_pointer(tmp_path / "serving", PREVIOUS) == SECOND


def test_none_removes_the_pointer(tmp_path: Path) -> None:
    write_pointer(tmp_path, FIRST)
    write_pointer(tmp_path, None)
    write_pointer(tmp_path, None)
    assert read_pointer(tmp_path) is None


@pytest.mark.parametrize("content", ["", "{", "[]", "7", '{"bento": "1"}', '{"bento": "1", "path": "p", "x": 1}'])
def test_damaged_pointer_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "current.json").write_text(content)
    with pytest.raises(PointerError, match=r"current\.json"):
        read_pointer(tmp_path)


def test_reader_never_sees_half_a_pointer(tmp_path: Path) -> None:
    write_pointer(tmp_path, FIRST)
    written = threading.Event()

    def write_often() -> None:
        for turn in range(200):
            write_pointer(tmp_path, SECOND if turn % 2 else FIRST)
        written.set()

    writer = threading.Thread(target=write_often)
    writer.start()
    while not written.is_set():
        assert read_pointer(tmp_path) in (FIRST, SECOND)
    writer.join()
    assert [path.name for path in tmp_path.iterdir()] == ["current.json"]
