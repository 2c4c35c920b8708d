"""The feature catalogue and its committed pages."""

import pytest
from typer.testing import CliRunner

from include.features.__main__ import PAGES, app
from include.features.catalogue import catalogue, markdown
from include.projects import load_project, project_names
from tests.features.language import project


@pytest.mark.parametrize("name", project_names())
def test_committed_pages_are_up_to_date(name):
    page = PAGES / f"{name}.md"
    assert page.is_file(), "run: python -m include.features document"
    assert page.read_text(encoding="utf-8") == markdown(load_project(name)), "run: python -m include.features document"


def test_catalogue_describes_every_kind_of_calculation():
    entries = {entry.name: entry for entry in catalogue(project())}
    assert len(entries) == len(project().features)
    assert all(entry.calculation and entry.source and entry.type and entry.nullable for entry in entries.values())
    assert entries["count_gift_7d"].calculation == "count where `gift OR units > 2 AND department <> 'b'`"
    assert entries["count_gift_7d"].window == "7 days"
    assert entries["share_of_amount_kind_45d"].calculation == "share of sum of amount where kind is gift"
    assert entries["trend"].calculation == "count_7d per day / count_45d per day"
    assert entries["days_since_plans_since"].calculation == "days since since of the latest row"
    assert entries["band"].validation == "x, y"


def test_command_prints_text_and_markdown(tmp_path):
    runner = CliRunner()
    words = runner.invoke(app, ["describe", "subscription"]).output
    assert "customer_tenure_days" in words
    assert "days since signup_date" in words
    page = runner.invoke(app, ["describe", "subscription", "--markdown"]).output
    assert page.startswith("# Features: ")
    assert "| customer_tenure_days |" in page
    assert "`CASE WHEN status <> 'paid'" in page
    assert runner.invoke(app, ["describe", "unknown"]).exit_code == 1
    assert runner.invoke(app, ["document", "--folder", str(tmp_path)]).exit_code == 0
    assert {path.stem for path in tmp_path.glob("*.md")} == set(project_names())
