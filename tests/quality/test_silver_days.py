import datetime as dt
import shutil

import pyarrow as pa
import pytest

from include.days import DayRange
from include.features.labels import matured_days
from include.lake import Lake
from include.lake.table_names import FEATURES_TABLE
from include.quality.gate import GateError
from include.quality.silver_days import loaded_days
from tests.world import FIRST, grocery, ingest, transactions, write_day, write_transactions, write_world

pytestmark = pytest.mark.slow  # the first check imports Great Expectations

DAYS = DayRange(FIRST, FIRST + dt.timedelta(days=2))
BAD = DAYS.last


@pytest.fixture(scope="module")
def shut_world(tmp_path_factory):
    """Three days; the gate of the last day is shut because all its transactions are invalid."""
    tmp_path = tmp_path_factory.mktemp("shut")
    landing, lake = tmp_path / "landing", Lake(str(tmp_path / "lake"))
    write_world(landing, DAYS)
    rows = transactions(BAD)
    write_transactions(landing, BAD, rows.set_column(4, "quantity", pa.array([-1] * rows.num_rows, pa.int64())))
    ingest(grocery(), lake, landing, DayRange(DAYS.first, BAD - dt.timedelta(days=1)), tmp_path / "reports")
    with pytest.raises(GateError):
        ingest(grocery(), lake, landing, DayRange.single(BAD), tmp_path / "reports")
    return tmp_path


@pytest.fixture
def shut(shut_world, tmp_path):
    """A copy of the world with a shut gate: its landing folder and its lake."""
    shutil.copytree(shut_world, tmp_path, dirs_exist_ok=True)
    return tmp_path / "landing", Lake(str(tmp_path / "lake"))


def test_day_is_loaded_only_if_its_gate_was_open(shut, tmp_path):
    landing, lake = shut
    assert loaded_days(lake, "transactions", DAYS) == set(DAYS) - {BAD}
    assert loaded_days(lake, "coupon_redemptions", DAYS) == set(DAYS) - {BAD}, "all sources are loaded together"
    assert loaded_days(lake, "products", DAYS) == {FIRST}, "a snapshot is loaded on the day of its delivery"
    write_day(landing, BAD)
    ingest(grocery(), lake, landing, DayRange.single(BAD), tmp_path / "reports")
    assert loaded_days(lake, "transactions", DAYS) == set(DAYS)


def test_day_without_rows_is_loaded(tmp_path):
    landing, lake = tmp_path / "landing", Lake(str(tmp_path / "lake"))
    write_world(landing, DAYS)
    write_transactions(landing, BAD, transactions(BAD).slice(0, 0))
    assert loaded_days(lake, "transactions", DAYS) == set()
    ingest(grocery(), lake, landing, DAYS, tmp_path / "reports")
    assert loaded_days(lake, "transactions", DAYS) == set(DAYS)


def test_labels_require_all_days_of_their_horizon(shut, tmp_path):
    landing, lake = shut
    project = grocery()
    project = project.model_copy(update={"label": project.label.model_copy(update={"horizon_days": 2})})
    rows = pa.table({"dt": pa.array([FIRST], pa.date32()), "customer_id": ["1"]})
    lake.table(FEATURES_TABLE).replace(DayRange.single(FIRST), rows)
    assert matured_days(project, lake, DayRange.single(FIRST)) == []
    write_day(landing, BAD)
    ingest(grocery(), lake, landing, DayRange.single(BAD), tmp_path / "reports")
    assert matured_days(project, lake, DayRange.single(FIRST)) == [FIRST]
