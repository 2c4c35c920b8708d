"""Features and labels on Spark: the same values as on DuckDB, and no value from the future."""

import pytest

from include.features.compile import compute_features, population
from include.features.labels import compute_labels
from tests.features.histories import SNAPSHOTS
from tests.features.language import BECOMES, COLUMN, NO_EVENT, MemoryLake, project
from tests.spark import needs_spark

pytestmark = [pytest.mark.slow, needs_spark]


@pytest.fixture(scope="module")
def on_spark(rows):
    return compute_features(project(), MemoryLake(rows, "spark"), SNAPSHOTS)


def test_features_equal_those_of_duckdb(features, on_spark):
    assert on_spark.equals(features)


def test_features_equal_those_of_duckdb_in_another_time_zone(rows):
    business = project(timezone="America/New_York")
    found, expected = (
        compute_features(business, MemoryLake(rows, engine), SNAPSHOTS) for engine in ("spark", "duckdb")
    )
    assert found.equals(expected)


def test_features_do_not_depend_on_later_data(rows, on_spark):
    day = SNAPSHOTS[2]
    past = {name: [row for row in some if row["dt"] <= day] for name, some in rows.items()}
    alone = compute_features(project(), MemoryLake(past, "spark"), [day]).to_pylist()
    assert alone == [row for row in on_spark.to_pylist() if row["dt"] == day]


@pytest.mark.parametrize("label", [NO_EVENT, BECOMES, COLUMN], ids=lambda label: label.kind)
def test_labels_equal_those_of_duckdb(label, rows):
    business = project({"source": "plans"}, label, timezone="America/New_York", lateness_days=3)

    def labels(engine):
        lake = MemoryLake(rows, engine)
        connected = lake.connect()
        gold = connected.create_table("gold", population(business, lake, connected, SNAPSHOTS), temp=True)
        found = connected.to_pyarrow(compute_labels(business, lake, connected, gold, SNAPSHOTS))
        return found.sort_by([("dt", "ascending"), ("customer_id", "ascending")]).to_pylist()

    assert labels("spark") == labels("duckdb")
