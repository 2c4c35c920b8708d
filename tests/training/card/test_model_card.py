"""The model card: complete, equal in both formats, and safe to open."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from include.projects import Project
from include.settings import Settings
from include.training.candidate import Candidate, make_candidate
from include.training.card.model_card import ModelCard, make_model_card
from include.training.data.dataset import DatasetRef
from include.training.evaluation.importance import importances
from include.training.evaluation.requirements import Verdict
from include.training.evaluation.segments import evaluate_segments
from include.training.model.calibrator import Calibrator
from tests.training.gold import small_project

pytestmark = pytest.mark.slow

VOID = {"meta", "img", "br", "link", "input"}


class Reader(HTMLParser):
    """A strict HTML parser: elements must be closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.pictures: list[dict[str, str | None]] = []
        self.tags: set[str] = set()
        self.rows: list[list[str]] = []
        self.feed(page)
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]
        if tag == "img":
            self.pictures.append(dict(attrs))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] in (["td"], ["th"]):
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def candidate(dataset: DatasetRef, tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    home = tmp_path_factory.mktemp("home")
    return make_candidate(small_project(), Settings(home=home), dataset)


VERDICTS = [
    Verdict("training_samples", "min", 10_000, 50_693, "before_training", "enabled"),
    Verdict("precision", "min", 0.7, 0.5, "after_training", "dry_run"),
]


def card_of(candidate: Candidate) -> ModelCard:
    return make_model_card(candidate, candidate.bundle("run-1"), "3", VERDICTS)


@pytest.fixture(scope="module")
def card(candidate: Candidate) -> ModelCard:
    return card_of(candidate)


def markdown_rows(card: ModelCard) -> list[list[str]]:
    lines = [line for line in card.markdown.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]


def test_metrics_and_intervals_equal_the_evaluation(candidate: Candidate, card: ModelCard) -> None:
    evaluation = candidate.evaluation
    rows = {row[0]: row[1:] for row in markdown_rows(card)}
    for title, name in {"area under the ROC curve (AUC)": "auc", "Brier score": "brier"}.items():
        ends = evaluation.intervals[name]
        assert rows[title] == [f"{getattr(evaluation, name):.3f}", f"{ends.low:.3f} to {ends.high:.3f}"]
    half, chosen = evaluation.intervals["recall"], evaluation.intervals["recall_at_threshold"]
    assert rows["recall"] == [
        f"{evaluation.at_half.recall:.3f}",
        f"{half.low:.3f} to {half.high:.3f}",
        f"{evaluation.at_threshold.recall:.3f}",
        f"{chosen.low:.3f} to {chosen.high:.3f}",
    ]


def test_savings_and_costs_sum_to_the_cost_of_all_churners(candidate: Candidate, card: ModelCard) -> None:
    evaluation, costs = candidate.evaluation, candidate.project.requirements.costs
    whole = evaluation.positive_ratio * 1000 * costs.missed_churner_usd
    rows = {row[0]: row for row in markdown_rows(card) if len(row) == 5}
    for way in ("offer to nobody", "offer to everybody", "offer by recency", "the model, at 0.0909"):
        lost, saved = (float(cell.replace(",", "")) for cell in rows[way][3:])
        assert lost + saved == pytest.approx(whole, abs=1.01), way
    assert rows["the model, at 0.0909"][4] == f"{evaluation.at_threshold.saving_usd_per_1000:,.0f}"


def test_every_segment_decile_and_bin_has_a_row(candidate: Candidate, card: ModelCard) -> None:
    rows = markdown_rows(card)
    evaluated = evaluate_segments(
        candidate.project, candidate.test, candidate.probabilities, candidate.contract.threshold
    )
    for segment in evaluated:
        assert [segment.value, f"{segment.rows:,}", f"{segment.customers:,}"] in [row[:3] for row in rows]
    for part in candidate.evaluation.deciles:
        assert [str(part.number), f"{part.rows:,}", f"{part.churners:,}", f"{part.lift:.2f}"] in [r[:4] for r in rows]
    for part in candidate.evaluation.reliability:
        assert [f"{part.rows:,}", f"{part.predicted:.1%}", f"{part.observed:.1%}"] in rows


def test_features_are_sorted_by_importance_with_description(candidate: Candidate, card: ModelCard) -> None:
    ranked = importances(candidate.bundle("run-1"), candidate.test.matrix)
    names = [one.feature for one in ranked]
    shown = [row for row in markdown_rows(card) if row[0] in names and len(row) == 4]
    assert [row[0] for row in shown] == names
    meanings = {spec.name: spec.description for spec in candidate.project.features}
    assert [row[1] for row in shown] == [meanings[name] for name in names]
    sizes = [one.mean_contribution for one in ranked]
    assert sizes == sorted(sizes, reverse=True)
    # In this gold table, customers with many purchases stay.
    directions = {one.feature: one.high_values for one in ranked}
    assert directions["age"] == "category"
    assert {directions[name] for name in names[:2] if name.startswith("baskets")} == {"lower"}


def test_missed_requirement_is_shown_with_its_effect(card: ModelCard) -> None:
    rows = {row[0]: row[1:] for row in markdown_rows(card)}
    assert rows["training samples"] == ["met", "stops the training", "50,693", "at least 10,000"]
    assert rows["precision"] == ["missed", "is reported", "0.5", "at least 0.7"]
    assert "## Requirements (1 of 2 missed)" in card.markdown
    assert "- requirements missed: precision\n" in card.summary


def test_compared_calibrators_are_shown(candidate: Candidate, card: ModelCard) -> None:
    made, rows = candidate.evaluated.calibration, markdown_rows(card)
    for score in made.scores:
        assert [score.name, f"{score.log_loss:.5f}", f"{score.brier:.5f}"] in rows
    for block in made.blocks:
        assert [block.name, f"{block.rows:,}", f"{block.expected:.1%}", f"{block.observed:.1%}"] in rows
    assert f"was chosen: {made.chosen.name}." in card.markdown


def test_model_without_skill_has_a_card_with_the_warning(candidate: Candidate) -> None:
    warning = "The model has no skill."
    constant = Calibrator(method="base_rate", slope=0.0, intercept=-1.0)
    calibration = candidate.model.calibration
    chosen = replace(calibration.chosen, method="base_rate", calibrator=constant)
    made = replace(candidate.model, calibration=replace(calibration, chosen=chosen, warning=warning))
    card = card_of(replace(candidate, model=made, evaluated=made))
    assert "## Calibration (warning)" in card.markdown
    assert f"- {warning}" in card.markdown
    assert f"- warning: {warning}\n" in card.summary
    assert len(card.plots) == 4


def test_leakage_finding_is_shown(candidate: Candidate, card: ModelCard) -> None:
    assert "## Leakage (none found)" in card.markdown
    found = "The feature refunds alone has an AUC of 0.990; the limit is 0.95."
    leaking = candidate.leakage.model_copy(update={"findings": (found,)})
    shown = card_of(replace(candidate, leakage=leaking)).markdown
    assert "## Leakage (suspected)" in shown
    assert f"- {found}" in shown


def test_data_versions_are_shown(candidate: Candidate, card: ModelCard) -> None:
    manifest = candidate.dataset.manifest
    for table, version in manifest.tables.items():
        assert f"| table {table} | Delta version {version} |" in card.markdown
    assert manifest.fingerprint in card.markdown


def test_markdown_and_html_have_equal_tables(card: ModelCard) -> None:
    page = [[" ".join(cell.split()) for cell in row] for row in Reader(card.html).rows]
    assert page == [row for row in markdown_rows(card) if set(row) - {"---", "--:"}]


def test_page_is_self_contained(card: ModelCard) -> None:
    reader = Reader(card.html)
    assert len(reader.pictures) == len(card.plots) == 4
    assert all(picture["alt"] for picture in reader.pictures)
    assert all(address.startswith("data:image/svg+xml;base64,") for address in reader.addresses)
    assert "@import" not in card.html
    assert "url(" not in card.html


def test_markdown_links_the_plot_files(card: ModelCard) -> None:
    named = re.findall(r"^!\[.+\]\((.+)\)$", card.markdown, re.MULTILINE)
    assert sorted(named) == sorted(card.plots)


def test_plots_have_labels_and_no_date(card: ModelCard) -> None:
    for name, svg in card.plots.items():
        ElementTree.fromstring(svg)  # noqa: S314 - our own
        assert "<dc:date>" not in svg, name
    assert "Predicted churn, %" in card.plots["plots/calibration.svg"]
    assert "Saved, $ per 1,000" in card.plots["plots/saving.svg"]


def test_card_is_reproducible(candidate: Candidate, card: ModelCard) -> None:
    assert card_of(candidate) == card


def test_configuration_text_is_escaped(candidate: Candidate) -> None:
    hostile = "<script>alert(1)</script> | <img src=x onerror=y>"
    content = candidate.project.model_dump() | {"description": hostile}
    content["requirements"]["notes"] = hostile
    content["feature_families"][0]["description"] = hostile
    card = card_of(replace(candidate, project=Project.model_validate(content)))
    reader = Reader(card.html)
    assert "script" not in reader.tags
    assert all(address.startswith("data:") for address in reader.addresses)
    assert "<script" not in card.markdown
    assert "<img" not in card.markdown


def test_summary_fits_the_registry(candidate: Candidate, card: ModelCard) -> None:
    assert len(card.summary) < 1000
    assert f"AUC {candidate.evaluation.auc:.3f}" in card.summary
    assert "`model_card.html`" in card.summary
