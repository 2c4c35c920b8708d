from __future__ import annotations

import threading
from pathlib import Path

import pytest

from include.serving.deployment.outcome import wait_for_outcome, write_outcome
from include.serving.deployment.pointer import PREVIOUS, BentoReference, PointerError, read_pointer, write_pointer
from include.serving.deployment.transaction import SupersededError, Transaction, bentos_in_use, served_bento

OLDER, FIRST, SECOND, THIRD = (BentoReference(f"{n}-x", str(n), f"/bentos/{n}-x") for n in range(4))


@pytest.fixture
def serving(tmp_path: Path) -> Path:
    """A deployment that serves FIRST, and served OLDER before."""
    write_pointer(tmp_path, FIRST)
    write_pointer(tmp_path, OLDER, PREVIOUS)
    return tmp_path


def pointers(serving: Path) -> tuple[BentoReference | None, BentoReference | None]:
    return read_pointer(serving), read_pointer(serving, PREVIOUS)


def test_what_is_asked_for_serves_once_it_answers(serving: Path) -> None:
    rollout = Transaction.begin(serving, SECOND)
    assert pointers(serving) == (SECOND, FIRST)
    assert served_bento(serving) == FIRST
    write_outcome(serving, rollout.order, "starting")
    assert served_bento(serving) == FIRST
    write_outcome(serving, rollout.order, "serving")
    assert served_bento(serving) == SECOND
    rollout.commit()
    assert (served_bento(serving), pointers(serving)) == (SECOND, (SECOND, FIRST))


def test_undone_is_as_before(serving: Path) -> None:
    Transaction.begin(serving, SECOND).undo()
    assert (served_bento(serving), pointers(serving)) == (FIRST, (FIRST, OLDER))


def test_the_first_deployment_undone_leaves_nothing(tmp_path: Path) -> None:
    rollout = Transaction.begin(tmp_path / "serving", FIRST)
    assert served_bento(tmp_path / "serving") is None
    rollout.undo()
    assert pointers(tmp_path / "serving") == (None, None)


def test_what_serves_asked_for_again_keeps_the_one_before(serving: Path) -> None:
    Transaction.begin(serving, FIRST).commit()
    assert pointers(serving) == (FIRST, OLDER)


@pytest.mark.parametrize(
    ("wanted", "afterwards"),
    [(FIRST, (FIRST, OLDER)), (SECOND, (SECOND, FIRST)), (THIRD, (THIRD, FIRST))],
    ids=["what served", "the same again", "another"],
)
@pytest.mark.parametrize("succeeds", [True, False])
def test_after_one_that_was_killed_the_next_starts_from_what_served(
    serving: Path, wanted: BentoReference, afterwards: object, succeeds: bool
) -> None:
    Transaction.begin(serving, SECOND)
    assert bentos_in_use(serving) == {OLDER.bento, FIRST.bento, SECOND.bento}
    rollout = Transaction.begin(serving, wanted)
    if succeeds:
        rollout.commit()
        assert pointers(serving) == afterwards
    else:
        rollout.undo()
        assert pointers(serving) == (FIRST, OLDER)


def test_of_two_at_a_time_the_later_wins_and_the_earlier_touches_nothing(serving: Path) -> None:
    deployment = Transaction.begin(serving, SECOND)
    rollback = Transaction.begin(serving, FIRST)
    assert wait_for_outcome(serving, deployment.order, 60) is None, "it is told at once"
    for end in (deployment.commit, deployment.undo):
        with pytest.raises(SupersededError, match=FIRST.bento):
            end()
    rollback.commit()
    with pytest.raises(SupersededError):
        deployment.undo()
    assert pointers(serving) == (FIRST, OLDER)


def test_readers_never_take_what_is_asked_for_for_what_serves(serving: Path) -> None:
    ended = threading.Event()

    def deploy_in_vain() -> None:
        for _ in range(100):
            Transaction.begin(serving, SECOND).undo()
        ended.set()

    thread = threading.Thread(target=deploy_in_vain)
    thread.start()
    while not ended.is_set():
        assert served_bento(serving) == FIRST
    thread.join()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"current": 7, "previous": null}'])
def test_a_damaged_record_is_named_and_moves_nothing(serving: Path, content: str) -> None:
    (serving / "rollout.json").write_text(content)
    for read in (served_bento, bentos_in_use):
        with pytest.raises(PointerError, match=r"rollout\.json"):
            read(serving)
    with pytest.raises(PointerError, match=r"rollout\.json"):
        Transaction.begin(serving, SECOND)
    assert pointers(serving) == (FIRST, OLDER)
