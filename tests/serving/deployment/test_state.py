from __future__ import annotations

import datetime as dt
import shutil
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from include.serving.deployment import state as state_module
from include.serving.deployment.state import (
    BentoReference,
    ServingState,
    ServingStateError,
    SupersededError,
    UnavailableStateError,
)
from include.settings import ProjectMismatchError
from tests.serving.servers import record_deployment

OLDER, FIRST, SECOND, THIRD = (BentoReference(f"{n}-x", str(n), f"/bentos/{n}-x", "mine") for n in range(4))


@pytest.fixture
def state(tmp_path: Path) -> ServingState:
    """The state of a deployment that serves FIRST, and served OLDER before."""
    record_deployment(tmp_path / "mine", OLDER)
    return record_deployment(tmp_path / "mine", FIRST)


def desired_and_previous(state: ServingState) -> tuple[BentoReference | None, BentoReference | None]:
    desired = state.desired()
    return desired and desired.bento, state.previous()


def test_state_is_empty_before_the_first_deployment_and_reading_creates_no_file(tmp_path: Path) -> None:
    state = ServingState(tmp_path / "absent")
    assert (state.served(), state.previous(), state.desired("shadow"), state.bentos_in_use()) == (
        None,
        None,
        None,
        set(),
    )
    assert not (tmp_path / "absent").exists()


def test_rollback_is_an_earlier_version_that_comes_into_service_again(state: ServingState, tmp_path: Path) -> None:
    record_deployment(tmp_path / "mine", replace(FIRST, bento="1-y"))
    record_deployment(tmp_path / "mine", SECOND)
    assert state.last_rollback() is None, "version 1 was packaged again, and version 2 is new"
    state.undo(state.begin(FIRST))
    assert state.last_rollback() is None, "the rollback did not succeed"
    record_deployment(tmp_path / "mine", FIRST)
    rolled_back = state.last_rollback()
    assert rolled_back == state.served_since()
    record_deployment(tmp_path / "mine", THIRD)
    assert state.last_rollback() == rolled_back


def test_candidate_serves_after_the_runner_reports_it(state: ServingState) -> None:
    revision = state.begin(SECOND)
    assert desired_and_previous(state) == (SECOND, FIRST)
    assert state.served() == FIRST
    state.report(revision, "starting")
    assert state.served() == FIRST
    state.report(revision, "serving")
    assert state.served() == SECOND
    state.commit(revision)
    assert (state.served(), desired_and_previous(state)) == (SECOND, (SECOND, FIRST))


def test_undo_restores_the_former_state(state: ServingState) -> None:
    state.undo(state.begin(SECOND))
    assert (state.served(), desired_and_previous(state)) == (FIRST, (FIRST, OLDER))


def test_undo_of_the_first_deployment_leaves_nothing(tmp_path: Path) -> None:
    state = ServingState(tmp_path / "mine")
    revision = state.begin(FIRST)
    assert state.served() is None
    state.undo(revision)
    assert desired_and_previous(state) == (None, None)


def test_deploying_the_served_bento_again_keeps_the_previous_one(state: ServingState) -> None:
    revision = state.begin(FIRST)
    assert state.desired() == revision
    state.commit(revision)
    assert desired_and_previous(state) == (FIRST, OLDER)


@pytest.mark.parametrize(
    ("candidate", "afterwards"),
    [(FIRST, (FIRST, OLDER)), (SECOND, (SECOND, FIRST)), (THIRD, (THIRD, FIRST))],
    ids=["the served Bento", "the same candidate", "another candidate"],
)
@pytest.mark.parametrize("succeeds", [True, False])
def test_rollout_after_a_killed_one_starts_from_the_served_bento(
    state: ServingState, candidate: BentoReference, afterwards: object, succeeds: bool
) -> None:
    state.begin(SECOND)
    assert state.bentos_in_use() == {OLDER.bento, FIRST.bento, SECOND.bento}
    revision = state.begin(candidate)
    if succeeds:
        state.commit(revision)
        assert desired_and_previous(state) == afterwards
    else:
        state.undo(revision)
        assert desired_and_previous(state) == (FIRST, OLDER)


def test_later_of_two_rollouts_takes_effect_and_the_earlier_changes_nothing(state: ServingState) -> None:
    deployment = state.begin(SECOND)
    rollback = state.begin(FIRST)
    assert state.wait_for(deployment, 60) is None, "returns at once"
    for end in (state.commit, state.undo):
        with pytest.raises(SupersededError, match=FIRST.bento):
            end(deployment)
    state.commit(rollback)
    with pytest.raises(SupersededError):
        state.undo(deployment)
    assert desired_and_previous(state) == (FIRST, OLDER)


def test_rollout_that_was_requested_earlier_is_refused(state: ServingState) -> None:
    now = dt.datetime.now(dt.UTC)
    rollback = state.begin(OLDER, requested=now + dt.timedelta(seconds=1))
    for committed in (False, True):
        with pytest.raises(SupersededError, match=rf"requested later.*{OLDER.bento}") as error:
            state.begin(SECOND, requested=now)
        assert not error.value.can_retry
        if not committed:
            state.commit(rollback)
    assert desired_and_previous(state) == (OLDER, FIRST)


def test_rollout_in_place_of_another_version_is_refused(state: ServingState) -> None:
    with pytest.raises(SupersededError, match="no longer serves version 2; it serves version 1"):
        state.begin(OLDER, replaces="2")
    assert desired_and_previous(state) == (FIRST, OLDER)
    assert state.begin(OLDER, replaces="1").bento == OLDER


def test_shadow_does_not_change_the_served_bento(state: ServingState) -> None:
    state.begin(SECOND, "shadow")
    revision = state.begin(THIRD, "shadow")
    assert state.desired("shadow") == revision
    assert (state.served(), desired_and_previous(state)) == (FIRST, (FIRST, OLDER))
    assert THIRD.bento in state.bentos_in_use()
    assert state.end_shadow() == THIRD
    assert (state.desired("shadow"), state.end_shadow()) == (None, None)


def test_readers_see_only_whole_rollouts(state: ServingState) -> None:
    ended = threading.Event()

    def roll_out_and_undo() -> None:
        for _ in range(50):
            state.undo(state.begin(SECOND))
        ended.set()

    thread = threading.Thread(target=roll_out_and_undo)
    thread.start()
    while not ended.is_set():
        assert state.served() == FIRST
        assert desired_and_previous(state)[0] in (FIRST, SECOND)
    thread.join()


@pytest.mark.parametrize("content", [b"not a database", b"SQLite format 3\0" + b"\xff" * 84])
def test_error_names_a_damaged_file_and_keeps_it(state: ServingState, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "mine" / "state.db"
    file.write_bytes(content)
    for read in (state.served, state.bentos_in_use):
        with pytest.raises(ServingStateError, match=r"cannot be read.*state\.db"):
            read()
    with pytest.raises(ServingStateError, match=r"cannot be written.*state\.db"):
        state.begin(SECOND)
    assert file.read_bytes() == content


def test_only_a_lock_or_a_full_disk_can_be_retried(
    state: ServingState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_module, "_LOCK_SECONDS", 0.1)
    file = tmp_path / "mine" / "state.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UnavailableStateError, match="locked"):
            state.served()
        database.execute("ROLLBACK")
        # The format of an earlier version of the code.
        database.execute("ALTER TABLE rollouts DROP COLUMN project")
    with pytest.raises(ServingStateError, match="no such column: project") as error:
        state.served()
    assert not error.value.can_retry


def test_state_and_bento_of_another_project_are_refused(state: ServingState, tmp_path: Path) -> None:
    with pytest.raises(ProjectMismatchError, match=r"Bento belongs to project 'other'.*'mine'"):
        state.begin(replace(SECOND, project="other"))
    assert desired_and_previous(state) == (FIRST, OLDER)
    shutil.copytree(tmp_path / "mine", tmp_path / "other")
    copied = ServingState(tmp_path / "other")
    before = (tmp_path / "other" / "state.db").read_bytes()
    for read in (copied.served, copied.desired, copied.previous, copied.bentos_in_use):
        with pytest.raises(ProjectMismatchError, match=r"belongs to project 'mine'.*'other'.*state\.db"):
            read()
    with pytest.raises(ProjectMismatchError, match="belongs to project 'mine'"):
        copied.begin(replace(SECOND, project="other"))
    assert (tmp_path / "other" / "state.db").read_bytes() == before


def test_folder_that_cannot_be_searched_is_not_an_empty_state(tmp_path: Path) -> None:
    # The operating system rejects the path, as it does without permission, which does not bind root.
    state = ServingState(tmp_path / ("x" * 300))
    for read in (state.desired, state.served):
        with pytest.raises(ServingStateError, match="cannot be read"):
            read()


def test_only_the_owner_can_read_the_file(state: ServingState, tmp_path: Path) -> None:
    assert state.served() == FIRST
    assert (tmp_path / "mine" / "state.db").stat().st_mode & 0o777 == 0o600
