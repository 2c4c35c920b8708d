"""``python -m include.projects``: all problems of a project, and the warnings of a valid project."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from include.projects import __main__ as command
from include.projects.features import Attribute, FeatureSpec, Share, Validation
from include.projects.loader import PROJECTS_DIR, examine_project, load_project
from include.projects.project import Population
from include.projects.references import Finding, check_references
from include.projects.sources import NULL_TOKENS, Column, ColumnType


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the grocery project, as the only project of the command."""
    folder = tmp_path / "shop"
    shutil.copytree(PROJECTS_DIR / "grocery", folder)
    monkeypatch.setattr(command, "project_names", lambda: ["shop"])
    monkeypatch.setattr(command, "examine_project", lambda name: examine_project(name, tmp_path))
    return folder


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text, old
    file.write_text(text.replace(old, new, 1))


def line_of(file: Path, text: str) -> int:
    before, found, _ = file.read_text().partition(text)
    assert found
    return before.count("\n") + 1


def check(*options: str) -> tuple[int, str]:
    done = CliRunner().invoke(command.app, ["check", "shop", *options])
    return done.exit_code, done.output


def test_check_prints_all_problems_with_their_lines(shop: Path) -> None:
    replace(shop / "project.yaml", "owner: growth-data\n", "ownr: growth-data\n")
    replace(shop / "sources.yaml", "    description: One coupon redeemed by a household.\n", "")
    replace(shop / "features.yaml", "column: basket_id", "column: basket")
    replace(shop / "features.yaml", "validation: {min: 0, max: 20000}", "validation: {min: 10, max: 1}")
    replace(shop / "features.yaml", "denominator: gap_days_84d", "denominator: gap_days_85d")
    replace(shop / "label.yaml", "horizon_days: 28", "horizon_days: soon")
    replace(shop / "training.yaml", "n_trials: 10", "n_trials: 10\nn_trials: 20")
    (shop / "monitoring.yaml").write_text("window_days: [7\n")
    (shop / "checks.yaml").unlink()

    status, output = check()
    assert status == 1
    assert "9 problems" in output
    inverted = line_of(shop / "features.yaml", "max: 1}")
    undescribed = line_of(shop / "sources.yaml", "  coupon_redemptions:")
    repeated = line_of(shop / "training.yaml", "n_trials: 20")
    for place, expected in {
        "project.yaml": "'ownr' is not a known key",
        "project.yaml, line 1": "'owner' is wrong: Field required",
        f"sources.yaml, line {undescribed}": "'sources.coupon_redemptions.description' is wrong",
        f"features.yaml, line {inverted}": "min (10) is above max (1)",
        "label.yaml, line 5": "'horizon_days' is wrong",
        f"training.yaml, line {repeated}": "'n_trials' is given twice",
        "monitoring.yaml, line 2": "is not valid YAML",
        "checks.yaml": "is missing",
    }.items():
        assert re.search(rf"{re.escape(place)}.*\n  .*{re.escape(expected)}", output), (place, expected, output)
    assert "'features.baskets_7d' names column 'basket', which source 'transactions' does not have" in output
    # References to an invalid feature are not reported.
    assert "gap_days_85d" not in output


def test_check_reports_an_unknown_segment(shop: Path) -> None:
    replace(shop / "training.yaml", "segments: [age, ", "segments: [shoe_size, ")
    status, output = check()
    assert (status, "1 problem\n" in output) == (1, True)
    line = line_of(shop / "training.yaml", "segments:")
    assert re.search(rf"training.yaml, line {line}.*\n  .*'segments' names the unknown feature 'shoe_size'", output)


def test_check_ignores_references_to_an_invalid_source(shop: Path) -> None:
    replace(shop / "sources.yaml", "    description: One product line of one shopping basket.\n", "")
    _, output = check()
    assert "1 problem\n" in output


def test_check_reports_columns_of_the_wrong_type(shop: Path) -> None:
    replace(shop / "features.yaml", "column: sales_value}", "column: store_id}")
    replace(shop / "features.yaml", '      categories: ["Married", "Unmarried"]\n', "      min: 0\n")
    _, output = check()
    assert "'features.spend_7d' uses column 'store_id', which is of type string, not a number" in output
    assert "'features.marital_status' uses column 'marital_status', which is of type string: list its texts" in output


def test_check_summarises_a_valid_project(shop: Path) -> None:
    status, output = check()
    assert status == 0
    for expected in (
        "products (snapshot, csv, 4 columns)",
        "77: 70 numbers, 7 categories",
        "within 28 days",
        "at least 10,000 training rows, at least 5.0% churners, 60 to 120 features (enabled)",
        "recall 0.65, f1 0.67 (dry_run)",
        "training within 2 h, responses within 100 ms (p99), at least 1,000 predictions/s (enabled)",
    ):
        assert expected in output


def test_check_prints_warnings_without_failing(shop: Path) -> None:
    replace(shop / "requirements.yaml", "min_features: 60", "min_features: 100")
    left_out = (shop / "checks.yaml").read_text().partition("  coupon_redemptions:\n")[2].partition("  campaign_")[0]
    replace(shop / "checks.yaml", f"  coupon_redemptions:\n{left_out}", "")
    status, output = check()
    assert status == 0, output
    assert "require 100 to 120 features, but features.yaml has 77: no training will start" in output
    assert "source 'coupon_redemptions' has no checks" in output
    assert "days_since_coupon, " in output


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("dry_run", "features.yaml has 77: every training will report it as missed"), ("disabled", None)],
)
def test_feature_count_warning_depends_on_the_mode(shop: Path, mode: str, expected: str | None) -> None:
    replace(shop / "requirements.yaml", "mode: enabled\n  min_training", f"mode: {mode}\n  min_training")
    replace(shop / "requirements.yaml", "min_features: 60", "min_features: 100")
    _, output = check()
    assert expected in output if expected else "features.yaml has" not in output
    assert "no training will start" not in output


NAMED = {("label", "value"), ("population", "values"), ("feature_families", "a"), ("feature_families", "b")}


def named(text: str, kind: ColumnType, null_tokens: tuple[str, ...] = NULL_TOKENS) -> list[Finding]:
    """Return the findings of a project that names ``text`` in every way as a value of a column."""
    project = load_project("subscription")
    customers = project.sources["customers"]
    columns = customers.columns | {"status": Column(type=kind)}
    share = Share(function="share", source="customers", column="status", value=text)
    attribute = Attribute(function="attribute", source="customers", column="status")
    features = [
        FeatureSpec(name="a", description="", type="aggregation", calculation=share, window=1),
        FeatureSpec(
            name="b", description="", type="derived", calculation=attribute, validation=Validation(categories=[text])
        ),
    ]
    changed = customers.model_copy(update={"columns": columns, "null_tokens": null_tokens})
    update = {
        "sources": project.sources | {"customers": changed},
        "label": project.label.model_copy(update={"value": text}),
        "population": Population(source="customers", column="status", values=[text]),
        "features": features,
    }
    return [item for item in check_references(project.model_copy(update=update)) if item.location in NAMED]


@pytest.mark.parametrize(
    ("kind", "text", "remedy"),
    [
        ("boolean", "no", "Write true or false, or declare the column as string."),
        ("boolean", "True", "Write true or false"),
        ("boolean", "false", None),
        ("integer", "01", "Write digits without plus sign or leading zeros, or declare the column as string."),
        ("integer", "left", "Write digits"),
        ("integer", "+1", "Write digits"),
        ("integer", "-1", None),
        ("integer", "0", None),
        ("number", "1", "Declare the column as string."),
        ("decimal", "1.50", "Declare the column as string."),
        ("date", "2026-01-01", "Declare the column as string."),
        ("string", "01", None),
    ],
)
def test_named_texts_are_texts_of_the_type(kind: str, text: str, remedy: str | None) -> None:
    found = {item.location: item for item in named(text, kind) if "names the text" in item.what}
    assert set(found) == (NAMED if remedy else set())
    for item in found.values():
        assert item.what == f"names the text {text!r}, but column 'status' of source 'customers' is of type {kind}"
        assert item.remedy.startswith(remedy or "")


@pytest.mark.parametrize(
    ("text", "tokens", "expected"),
    [
        ("NA", NULL_TOKENS, "names 'NA', which is a text that means 'no value' in source 'customers'"),
        ("NA", ("gone",), None),
        ("gone", ("gone",), "names 'gone', which is a text that means 'no value' in source 'customers'"),
        ("", (), "names '', which is a text that means 'no value' in source 'customers'"),
    ],
)
def test_named_texts_are_values(text: str, tokens: tuple[str, ...], expected: str | None) -> None:
    found = {item.location: item.what for item in named(text, "string", tokens) if "names" in item.what}
    assert found == (dict.fromkeys(NAMED, expected) if expected else {})


def test_null_tokens_of_a_looked_up_column_are_those_of_its_source(shop: Path) -> None:
    replace(shop / "sources.yaml", "  products:\n", "  products:\n    null_tokens: [Private]\n")
    status, output = check()
    assert status == 1
    assert "names 'Private', which is a text that means 'no value' in source 'products'" in output


@pytest.mark.slow
def test_deep_check_finds_unknown_expectations(shop: Path) -> None:
    replace(shop / "checks.yaml", "expect_column_values_to_be_in_set", "expect_column_values_to_be_nice")
    assert check()[0] == 0
    status, output = check("--deep")
    assert status == 1
    assert "expect_column_values_to_be_nice of campaign_mailings" in output
    assert output.count("cannot build") == 1


def test_list_prints_titles(shop: Path) -> None:
    listed = CliRunner().invoke(command.app, ["list"]).output
    assert "shop" in listed
    assert "Grocery households" in listed
    (shop / "label.yaml").unlink()
    assert "1 problem; list them with: check shop" in CliRunner().invoke(command.app, ["list"]).output


def test_check_of_an_unknown_project_fails() -> None:
    done = CliRunner().invoke(command.app, ["check", "nowhere"])
    assert "There is no project 'nowhere'" in str(done.exception)


def test_load_error_names_the_check_command(shop: Path) -> None:
    replace(shop / "label.yaml", "horizon_days: 28", "horizon_days: 0")
    with pytest.raises(Exception, match=r"label\.yaml, line 5\. .*include\.projects check shop"):
        load_project("shop", shop.parent)


def test_check_refuses_sums_of_floats(shop: Path) -> None:
    replace(shop / "sources.yaml", "sales_value: {type: decimal", "sales_value: {type: number")
    code, output = check()
    assert code == 1
    assert "'features.spend_7d' uses column 'sales_value', which is of type number: such sums depend" in output
    assert "line_value_max" not in output


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("sources.yaml", "      store_id:", "      dt:", "'sources.transactions.columns.dt' is a reserved name"),
        ("sources.yaml", "      store_id:", "      _file:", "'sources.transactions.columns._file' is a reserved name"),
        (
            "sources.yaml",
            "      store_id:",
            "      Quantity:",
            "Quantity' differs from column 'quantity'|quantity' differs",
        ),
        (
            "sources.yaml",
            "description: The store}",
            "description: The store, delivered_as: quantity}",
            "quantity' has the name 'quantity' in the delivery, like column 'store_id'",
        ),
        (
            "sources.yaml",
            "columns: [department, brand]",
            "columns: [department, brand, product_id]",
            "adds column 'product_id'",
        ),
        ("sources.yaml", "\n  transactions:", "\n  features:", "'sources.features' cannot be the name of a source"),
        ("sources.yaml", "\n  transactions:", "\n  a/b:", "'sources.a/b' cannot be the name of a source"),
        ("features.yaml", "name: marital_status", "name: customer_id", "'features.customer_id' is a reserved name"),
        ("features.yaml", "name: marital_status", "name: churned", "'features.churned' is the label's name"),
        ("features.yaml", "name: marital_status", "name: Marital", "'features.Marital.name' is wrong"),
        ("label.yaml", "name: churned", "name: DT", "'name' is a reserved name"),
    ],
)
def test_check_refuses_names_that_the_lake_cannot_store(
    shop: Path, file: str, old: str, new: str, expected: str
) -> None:
    replace(shop / file, old, new)
    status, output = check()
    assert status == 1
    assert re.search(expected, output), output


def test_check_names_the_remedy_of_a_reserved_name(shop: Path) -> None:
    replace(shop / "sources.yaml", "      store_id:", "      dt:")
    assert "Remedy: Give the column another name, and add to it: delivered_as: dt" in check()[1]


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        (
            "sources.yaml",
            "      household_id: {type: string",
            "      household_id: {type: integer",
            "'sources.coupon_redemptions.customer' joins coupon_redemptions.household_id of type string and "
            "transactions.household_id of type integer",
        ),
        (
            "sources.yaml",
            "      product_id: {type: string",
            "      product_id: {type: integer",
            "'sources.transactions.lookups' joins transactions.product_id of type integer and products.product_id of",
        ),
    ],
)
def test_check_requires_one_type_for_joined_ids(shop: Path, file: str, old: str, new: str, expected: str) -> None:
    replace(shop / file, old, new)
    status, output = check()
    assert (status, expected in output) == (1, True), output


def test_check_requires_one_type_on_both_sides_of_a_foreign_key(shop: Path) -> None:
    replace(shop / "sources.yaml", "      store_id: {type: string", "      store_id: {type: integer")
    key = "    foreign_keys: [{column: store_id, source: products, references: product_id}]\n"
    replace(shop / "checks.yaml", "  transactions:\n", "  transactions:\n" + key)
    assert "'silver.transactions.foreign_keys' joins transactions.store_id of type integer and products" in check()[1]


def test_check_refuses_what_the_ingest_refuses(shop: Path) -> None:
    replace(shop / "sources.yaml", "by: product_id, columns: [department", "by: store_id, columns: [department")
    replace(shop / "checks.yaml", "arguments: {column: ", "arguments: {column: un")
    output = check()[1]
    assert re.search(
        r"checks.yaml, line \d+\n  Key 'silver.\w+.expectations' names column 'un\w+', which source", output
    )
    assert "'sources.transactions.lookups' names column 'store_id', which source 'products' does not have" in output
    assert "looks up by 'store_id', but the key of source 'products' is ['product_id']" in output
