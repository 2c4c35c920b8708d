"""Names, descriptions and findings stay text in every report, whatever they contain."""

from __future__ import annotations

import datetime as dt
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from jinja2 import nodes

from include.days import DayRange
from include.lake import Lake
from include.monitoring.drift_report import write_page as write_drift_page
from include.projects.sources import Column
from include.quality.contract import Contract, ContractColumn
from include.quality.gate import RuleOutcome, TableOutcome, write_report
from include.readiness.results import CheckResult, GateResult, ReadinessResult
from include.readiness.results import write_page as write_readiness_page
from include.reporting import Page, Plot, Section, Table, html_templates
from include.settings import ROOT
from include.sources.audit import audit_sources
from include.sources.connections import Connections
from tests.monitoring.results import drifted_feature, monitoring_result, realised_model, source_health
from tests.sources.conftest import project_of, source

DAY = dt.date(2017, 12, 1)
PRODUCT = [ROOT / name for name in ("include", "plugins", "dags", "local", "release")]
TEMPLATES = sorted(path for folder in PRODUCT for path in folder.rglob("templates/*.html"))
CHARACTERS = st.characters(exclude_categories=["Cs", "Cc"])
HOSTILE = (
    "</title><planted x=1>",
    '" onmouseover="alert(1)',
    "' onmouseover='alert(1)",
    "</style><planted>",
    "<!--",
    "]]><planted>",
    "{{ 7 * 191 }}{% raw %}",
)


class Structure(HTMLParser):
    """The elements of a page with the names of their attributes, and its addresses."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, ...]] = []
        self.addresses: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, *(name for name, _ in attrs)))
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_comment(self, data: str) -> None:
        self.elements.append(("comment",))


def quality(text: str, folder: Path) -> str:
    contract = Contract(text, text, text, (text,), (ContractColumn(text, "string", True, text),))
    rules = tuple(RuleOutcome(text, severity, False, 1, text, True, text, text) for severity in ("stop", "warn"))
    outcome = TableOutcome(text, 10, 1, 0.99, rules, contract, text)
    return write_report(text, "silver", DayRange.single(DAY), [outcome], folder).read_text()


def readiness(text: str, folder: Path) -> str:
    now = dt.datetime(2017, 12, 1, tzinfo=dt.UTC)
    checks = [
        CheckResult(
            name="sources_documented",
            title=text,
            state="passed",
            evidence=text,
            figure=text,
            time=now,
            stale_after_days=1,
            link=link,
        )
        for link in (text, "", "https://example.org/" + text)
    ]
    gate = GateResult(title=text, checks=tuple(checks))
    return write_readiness_page(ReadinessResult(project=text, checked_at=now, gates={text: gate}), folder).read_text()


def page(text: str, _: Path) -> str:
    table = Table((text, "n"), [(text, "1")], title=text)
    section = Section(text, [text], [text], [Plot("curve", text, "<svg/>")], [table], text)
    return Page(text, text, [section]).html()


def drift(text: str, folder: Path) -> str:
    performance = {
        "state": "known",
        "reason": text,
        "models": [realised_model(DAY, model_version=text, verdict=text)],
        "segments": [{"feature": text, "value": text, "customers": 1, "churners": 1, "metrics": {}}],
    }
    shadow = dict.fromkeys(
        [
            "rows",
            "mean_absolute_difference",
            "correlation",
            "decisions_that_differ",
            "labelled_rows",
            "shadow_auc",
            "auc",
        ],
        1,
    )
    served: dict[str, Any] = {
        "reason": text,
        "models": [
            {
                "model_version": text,
                "answers": 1,
                "by_id": 1,
                "with_features": 1,
                "churn_share": 0.1,
                "mean_probability": 0.1,
            }
        ],
        "drift": {"reason": text, "drifted": [text]},
        "performance": {"reason": text, "state": text},
        "shadows": [{"shadow_version": text, "model_version": text, **shadow}],
    }
    feature = drifted_feature(text, 3.0, reason=text, missing_reference=0.0, missing_current=0.1)
    result = monitoring_result(
        DAY,
        project=text,
        model_version=text,
        drift={
            "reason": text,
            "promise": text,
            "features": [feature, feature],
            "drifted_features": 1,
            "informing_features": 1,
            "current_rows": 1,
        },
        root_causes=[text],
        sources=[source_health(text, DAY, findings=[{"kind": "schema", "text": text}], quarantined={text: 1})],
        performance=performance,
        expected={"reason": text},
        served=served,
    )
    result |= {"trained_through": text, "evaluated_through": text, "reference_days": [text], "reference_rows": 1}
    result |= {"current_days": [text, text], "snapshot_pairs": 2, "new_columns": [text], "left_out": [text]}
    return write_drift_page(result | {"evidently": [text]}, folder).read_text()


RENDERERS = {"quality": quality, "readiness": readiness, "page": page, "drift": drift}


@pytest.mark.parametrize("name", RENDERERS)
def test_text_changes_no_element_and_no_attribute_of_a_report(name: str, tmp_path: Path) -> None:
    render = RENDERERS[name]
    harmless = Structure(render("word", tmp_path))

    @settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.text(CHARACTERS, min_size=1))
    def check(text: str) -> None:
        rendered = render(text, tmp_path)
        assert Structure(rendered).elements == harmless.elements
        assert "1337" not in rendered
        unsafe = re.compile(r"\s*(javascript|vbscript|file):", re.IGNORECASE)
        assert not [address for address in Structure(rendered).addresses if unsafe.match(address)]

    for text in (*HOSTILE, "javascript:alert(1)"):
        check = example(text)(check)
    check()


def test_delivered_names_stay_text_in_the_audit(tmp_path: Path) -> None:
    def audited(text: str, folder: Path) -> str:
        sold = source(description=text, owner=text, columns={**source().columns, "note": Column(type="string")})
        path = folder / "landing" / "payments" / f"{DAY}.csv"
        path.parent.mkdir(parents=True)
        quoted = text.replace('"', '""')
        path.write_text(f'payment_id,paid_at,amount,note,"{quoted}"\n1,{DAY} 08:00:00,1.50,x,"{quoted}"\n')
        lake, connections = Lake(str(folder / "lake")), Connections(str(folder / "landing"))
        audit_sources(project_of(payments=sold), lake, connections, DayRange.single(DAY), folder / "audits")
        return (folder / "audits" / str(DAY) / "audit.html").read_text()

    harmless = Structure(audited("word", tmp_path / "word"))
    for number, text in enumerate(HOSTILE):
        assert Structure(audited(text, tmp_path / str(number))).elements == harmless.elements, text


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_never_disable_escaping(path: Path) -> None:
    parsed = html_templates(path.parent).parse(path.read_text())
    assert not [item.name for item in parsed.find_all(nodes.Filter) if item.name in {"safe", "tojson", "xmlattr"}]
    assert not list(parsed.find_all(nodes.ScopedEvalContextModifier))
    assert "<script" not in path.read_text()
    # A value in an attribute without quotation marks could add an attribute.
    assert not re.search(r"=\{\{", path.read_text())


def test_one_module_uses_jinja() -> None:
    """All templates therefore belong to the environment that escapes."""
    importing = {
        str(path.relative_to(ROOT))
        for folder in PRODUCT
        for path in folder.rglob("*.py")
        if re.search(r"^\s*(from|import) (jinja2|markupsafe)", path.read_text(), re.MULTILINE)
    }
    assert importing == {"include/reporting/rendering.py"}
