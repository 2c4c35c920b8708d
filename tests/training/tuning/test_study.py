from __future__ import annotations

from pathlib import Path

import pytest
from optuna.distributions import FloatDistribution
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState, create_trial
from pydantic import SecretStr
from sqlalchemy.exc import OperationalError

from include.training.tuning.study import SharedStudy, StudyError, UnreachableStudyError


def trial(number: int, value: float = 0.5, state: TrialState = TrialState.COMPLETE) -> FrozenTrial:
    return create_trial(
        state=state,
        value=value if state == TrialState.COMPLETE else None,
        params={"learning_rate": 0.1},
        distributions={"learning_rate": FloatDistribution(0.01, 0.3)},
        intermediate_values={0: value},
        user_attrs={"number": number},
    )


def opened(folder: Path, name: str = "study") -> SharedStudy:
    return SharedStudy(name, folder / "journal", SecretStr(""))


def test_workers_share_trials_sorted_by_number(tmp_path: Path) -> None:
    one, two = opened(tmp_path), opened(tmp_path)
    one.add(trial(2))
    two.add(trial(0, state=TrialState.PRUNED))
    for study in (one, two, opened(tmp_path)):
        assert [(number, found.state.name) for number, found in study.finished().items()] == [
            (0, "PRUNED"),
            (2, "COMPLETE"),
        ]
    assert opened(tmp_path, "other").finished() == {}


def test_second_trial_of_a_number_is_ignored(tmp_path: Path) -> None:
    study = opened(tmp_path)
    study.add(trial(0, 0.5))
    study.add(trial(0, 0.9))
    assert [found.value for found in study.finished().values()] == [0.5]


def test_last_claim_wins(tmp_path: Path) -> None:
    one, two = opened(tmp_path), opened(tmp_path)
    one.claim(3, 0)
    two.claim(3, 1)
    assert one.claims() == {3: 1}
    assert one.finished() == {}


def test_partial_last_line_is_removed(tmp_path: Path) -> None:
    study = opened(tmp_path)
    study.add(trial(0))
    whole = (tmp_path / "journal").read_bytes()
    study.add(trial(1))
    added = (tmp_path / "journal").read_bytes()[len(whole) :]
    for cut in (1, len(added) // 2, len(added) - 1):
        (tmp_path / "journal").write_bytes(whole)
        before = opened(tmp_path)
        (tmp_path / "journal").write_bytes(whole + added[:cut])
        after = opened(tmp_path)
        assert list(before.finished()) == list(after.finished()) == [0]
        before.add(trial(2))
        after.add(trial(3))
        assert list(before.finished()) == list(after.finished()) == list(opened(tmp_path).finished()) == [0, 2, 3]


def test_damaged_journal_is_rejected_and_unchanged(tmp_path: Path) -> None:
    opened(tmp_path).add(trial(0))
    journal = tmp_path / "journal"
    content = journal.read_bytes() + b'{"op_co' + journal.read_bytes()
    journal.write_bytes(content)
    with pytest.raises(StudyError, match=r"damaged.*journal.*Remove"):
        opened(tmp_path)
    assert journal.read_bytes() == content


@pytest.mark.parametrize(
    ("message", "can_retry"),
    [("server closed the connection", True), ("FATAL:  password authentication failed", False)],
)
def test_only_a_lost_database_can_be_retried(tmp_path: Path, message: str, can_retry: bool) -> None:
    driver = Exception(message)
    lost, wrapper = OperationalError(None, None, driver), StorageInternalError()
    lost.__cause__, wrapper.__cause__ = driver, lost
    for error in (lost, wrapper):
        with pytest.raises(StudyError) as caught, opened(tmp_path)._study_errors():
            raise error
        assert caught.value.can_retry == can_retry


@pytest.mark.slow  # a database driver retries before it fails
@pytest.mark.parametrize(
    "url", ["postgresql+psycopg2://u:hunter2@127.0.0.1:1/db", "no url hunter2", "x://u:hunter2@h/d"]
)
def test_database_error_does_not_show_the_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(StudyError, match="CHURN_TRAINING__TUNING_STORAGE") as caught:
        SharedStudy("study", tmp_path / "journal", SecretStr(url))
    assert isinstance(caught.value, UnreachableStudyError) == url.startswith("postgresql")
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__
    assert not (tmp_path / "journal").exists()
