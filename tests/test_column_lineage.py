"""The lineage that a chain of steps records, from the deliveries to the retention list, for both shipped projects."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xgboost as xgb
from deltalake import DeltaTable

from include import lineage
from include.column_lineage import Origin, column_lineage
from include.days import DayRange
from include.features.compile import compute_features
from include.features.labels import build_labels
from include.ingest import refine
from include.lake import open_lake
from include.lake.table_names import FEATURES_TABLE, SCORES_TABLE
from include.lineage import MODEL, Lineage
from include.projects import load_project
from include.retention.retention_list import score_day
from include.serving.deployment.state import BentoReference
from include.serving.online_store.update import update_store
from include.settings import Settings
from include.sources.bronze import load_bronze
from include.sources.connections import Connections
from include.sources.delivered_files import find_deliveries
from include.training.model.bundle import Bundle
from include.training.model.contract import FeatureContract
from simulator import World, generate
from tests.serving.servers import record_deployment
from tests.training.contracts import contract_of
from tests.world import write_world

PARAMETERS = {"dt", "model_version"}
"""The columns of the list that are parameters of the run, and have no column behind them."""


@dataclass(frozen=True)
class Chain:
    settings: Settings
    days: DayRange
    steps: dict[str, Lineage]

    def origins(self, step: str, dataset: str) -> dict[str, frozenset[Origin]]:
        """Return the origins of each column that a step has written."""
        recorded = self.steps[step]
        project = load_project(self.settings.project)
        return dict(column_lineage(project, recorded.written[dataset], recorded.read).columns)


def deliver(home: Path, project: str) -> DayRange:
    first = load_project(project).first_day
    days = DayRange(first, first + dt.timedelta(days=9))
    if project == "grocery":
        write_world(home / "landing" / project, days)
    else:
        generate(home, World(customers=80, first_day=first, seed=1, pace_days=10), days.last)
    return days


def deploy_model(settings: Settings) -> None:
    specs = load_project(settings.project).features
    features = (
        FeatureContract(name=spec.name, dtype=spec.dtype, nullable=True, categories=tuple(spec.categories) or None)
        for spec in specs
    )
    rng = np.random.default_rng(1)
    data = xgb.DMatrix(rng.random((50, len(specs))), rng.integers(0, 2, 50))
    folder = settings.home / "bento"
    model = Bundle(contract_of(*features, project=settings.project), xgb.train({"max_depth": 2}, data, 2))
    model.save(folder / "src" / "bundle")
    record_deployment(settings.serving_dir, BentoReference("3-abc", "3", str(folder), settings.project))


@pytest.fixture(scope="module", params=["grocery", "subscription"])
def chain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """The record of each step of an ingest of ten days and of the scoring of the last day."""
    settings = Settings(home=tmp_path_factory.mktemp("lineage"), project=request.param)
    days, project, lake = deliver(settings.home, settings.project), load_project(settings.project), open_lake(settings)
    deploy_model(settings)
    steps: dict[str, Callable[[], object]] = {
        "bronze": lambda: load_bronze(project, lake, Connections.from_settings(settings), days),
        "gold": lambda: refine(project, lake, days, settings.reports_dir),
        "labels": lambda: build_labels(project, lake, days),
        "scores": lambda: score_day(days.last, settings),
        "store": lambda: update_store(days.last, settings),
    }
    recorded = {}
    for name, step in steps.items():
        lineage.start()
        step()
        recorded[name] = lineage.recorded()
    return Chain(settings, days, recorded)


def test_each_column_of_the_list_traces_back_to_landing_columns(chain: Chain) -> None:
    graph = {
        (written, column): {(origin.dataset, origin.column) for origin in origins}
        for step, recorded in chain.steps.items()
        for written in recorded.written
        for column, origins in chain.origins(step, written).items()
    }
    delivered = chain.steps["bronze"].read
    for column in chain.steps["scores"].written[SCORES_TABLE].columns:
        known, reached = {(SCORES_TABLE, column)}, [(SCORES_TABLE, column)]
        for node in reached:  # grows
            found = graph.get(node, set()) - known
            known |= found
            reached += found
        ends = {(name, own) for name, own in reached if name in delivered and own in delivered[name].columns}
        assert bool(ends) == (column not in PARAMETERS), column


def test_every_origin_is_a_column_of_a_dataset_that_the_step_has_read(chain: Chain) -> None:
    found = [
        (recorded.read[origin.dataset].columns, origin.column)
        for step, recorded in chain.steps.items()
        for written in recorded.written
        for origins in chain.origins(step, written).values()
        for origin in origins
    ]
    assert len(found) > 300
    assert all(column in columns for columns, column in found)


def test_every_feature_and_every_declared_column_has_origins(chain: Chain) -> None:
    project = load_project(chain.settings.project)
    assert set(chain.origins("gold", FEATURES_TABLE)) == {"customer_id", *(spec.name for spec in project.features)}
    for name, source in project.sources.items():
        if f"bronze/{name}" in chain.steps["bronze"].written:
            assert set(chain.origins("bronze", f"bronze/{name}")) == set(source.columns)
            assert set(chain.origins("gold", f"silver/{name}")) == {"dt", *source.columns}


def test_versions_are_those_of_the_tables(chain: Chain) -> None:
    written = {name: one for recorded in chain.steps.values() for name, one in recorded.written.items() if one.is_delta}
    assert {SCORES_TABLE, FEATURES_TABLE} < set(written)
    for one in written.values():
        assert one.namespace == "file"
        assert int(one.version) == DeltaTable(one.path).version()
        assert set(one.columns) <= {field.name for field in DeltaTable(one.path).schema().fields}
    assert chain.steps["scores"].read[FEATURES_TABLE].version == written[FEATURES_TABLE].version
    assert chain.steps["scores"].read[MODEL].version == "3"


def test_a_changed_file_changes_the_version_of_its_dataset(tmp_path: Path) -> None:
    days = deliver(tmp_path, "grocery")
    source = load_project("grocery").sources["products"]
    connections = Connections(str(tmp_path / "landing" / "grocery"))
    versions = []
    for row in ("", "99,GROCERY,National,THINGS\n"):
        with (tmp_path / "landing" / "grocery" / "products" / f"{days.first}.csv").open("a") as file:
            file.write(row)
        lineage.start()
        find_deliveries("products", source, connections, days)
        (delivered,) = lineage.recorded().read.values()
        versions.append(delivered.version)
    assert delivered.columns == dict.fromkeys(source.columns, "text")
    assert versions[0] != versions[1]


@pytest.mark.slow
def test_a_changed_column_changes_only_features_that_name_it_as_an_origin(chain: Chain) -> None:
    project, lake, day = load_project(chain.settings.project), open_lake(chain.settings), chain.days.last
    recorded = chain.steps["gold"]
    rows = column_lineage(project, recorded.written[FEATURES_TABLE], recorded.read).rows
    features = chain.origins("gold", FEATURES_TABLE)
    origins = {name: {(one.dataset, one.column) for one in found} for name, found in features.items()}
    population = origins.pop("customer_id") | {(one.dataset, one.column) for one in rows}

    def compute() -> pd.DataFrame:
        return compute_features(project, lake, [day]).to_pandas().set_index("customer_id").drop(columns="dt")

    expected, confirmed = compute(), set()
    for name, dataset in recorded.read.items():
        if not name.startswith("silver/") or "/_" in name:
            continue
        table = lake.table(name)
        original = table.read(table.days())
        for column in set(dataset.columns) - {"dt"}:
            changed = original[column].take(pa.array(np.arange(original.num_rows)[::-1]))
            table.replace(table.days(), original.set_column(original.column_names.index(column), column, changed))
            found = compute()
            table.replace(table.days(), original)
            same = found.index.intersection(expected.index)
            assert len(same) == len(found) == len(expected) or (name, column) in population, (name, column)
            differs = [not found.loc[same, feature].equals(expected.loc[same, feature]) for feature in expected]
            confirmed |= {(feature, name, column) for feature in expected.columns[differs]}
    unnamed = {(feature, name, column) for feature, name, column in confirmed if (name, column) not in origins[feature]}
    assert unnamed == set()
    assert len({feature for feature, _, _ in confirmed}) > len(expected.columns) / 2
