import pyarrow as pa
import pytest

from include.quality.contract import ContractError, gold_contract, silver_contract
from tests.quality.shop import REGIONS, Shop, day, project
from tests.world import grocery

CONTRACT = silver_contract("regions", REGIONS)


def rows(**changes):
    columns = {
        "dt": pa.array([day(0), day(1)], pa.date32()),
        "customer_id": pa.array(["a", "a"]),
        "region": pa.array(["north", None], pa.string()),
    }
    return pa.table({name: column for name, column in (columns | changes).items() if column is not None})


def test_valid_rows_pass():
    CONTRACT.verify(rows())


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"region": None}, "'region' is missing"),
        ({"region": pa.array([1, 2])}, "'region' is int64, not string"),
        ({"customer_id": pa.array(["a", None])}, "'customer_id' has empty values"),
        ({"dt": pa.array([day(0), day(0)], pa.date32())}, "appears more than once"),
        ({"till": pa.array([1, 2])}, "'till' is not in the contract"),
    ],
)
def test_invalid_rows_are_refused(changes, what):
    with pytest.raises(ContractError, match=rf"{what}.*silver/regions"):
        CONTRACT.verify(rows(**changes))


def test_report_shows_the_contract_but_no_values(tmp_path):
    world = Shop(tmp_path, project({"regions": REGIONS}, {"regions": {"minimum_pass_share": 0}}))
    world.deliver("regions", 0, ["secret_value,north", "secret_value,south"])
    world.ingest(0)
    page = (world.reports / str(day(0)) / "silver.html").read_text()
    for shown in (
        "key <code>dt, customer_id</code>",
        "<code>region</code>",
        "duplicate_key",
        "One region of the shop.",
    ):
        assert shown in page
    assert "secret_value" not in page


def test_changed_column_type_is_refused(tmp_path):
    world = Shop(tmp_path, project({"regions": REGIONS}))
    world.deliver("regions", 0, ["a,1.5"])
    world.ingest(0)
    columns = {**REGIONS.columns, "region": REGIONS.columns["region"].model_copy(update={"type": "number"})}
    world.project = project({"regions": REGIONS.model_copy(update={"columns": columns})})
    with pytest.raises(ContractError, match=r"'region' is stored as string, its contract requires number"):
        world.ingest(0)
    assert world.read("silver/regions", "region") == [("1.5",)]


def test_new_column_is_added(tmp_path):
    world = Shop(tmp_path, project({"regions": REGIONS}))
    world.deliver("regions", 0, ["a,north"])
    world.ingest(0)
    columns = {**REGIONS.columns, "size": REGIONS.columns["region"]}
    world.project = project({"regions": REGIONS.model_copy(update={"columns": columns})})
    world.deliver("regions", 1, ["a,north,large"])
    world.ingest(1)
    assert world.read("silver/regions", "size") == [("large",), (None,)]


def test_gold_contract_has_one_column_per_feature():
    project = grocery()
    contract = gold_contract(project)
    assert [column.name for column in contract.columns] == ["dt", "customer_id", *(f.name for f in project.features)]
    assert contract.key == ("dt", "customer_id")
