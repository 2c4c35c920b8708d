from __future__ import annotations

import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from include.reporting import Page, Plot, Section, Table, html_templates

HOSTILE = "<script>alert('x')</script> | & \"quoted\""
PAGE = Page(
    HOSTILE,
    HOSTILE,
    [
        Section(
            HOSTILE,
            badge=HOSTILE,
            paragraphs=[HOSTILE],
            items=[HOSTILE],
            plots=[Plot("curve", HOSTILE, "<svg xmlns='http://www.w3.org/2000/svg'/>")],
            tables=[Table((HOSTILE, "n"), [(HOSTILE, "1")], title=HOSTILE)],
        )
    ],
)


def test_page_escapes_all_text() -> None:
    html = PAGE.html()
    assert "<script" not in html
    assert html.count("&lt;script&gt;") == 11
    assert "<script" not in PAGE.markdown()


def test_page_has_no_external_resources() -> None:
    addresses = re.findall(r'(?:src|href)="([^"]*)"', PAGE.html())
    assert [address.split(",")[0] for address in addresses] == ["data:image/svg+xml;base64"]
    assert not re.findall(r"url\(|@import", PAGE.html())


def test_page_supports_a_dark_colour_scheme() -> None:
    assert "prefers-color-scheme: dark" in PAGE.html()


def test_template_of_a_package_extends_the_base(tmp_path: Path) -> None:
    (tmp_path / "own.html").write_text(
        '{% extends "base.html" %}{% from "macros.html" import badge, bar %}{% block title %}{{ text }}{% endblock %}'
        '{% block main %}{{ badge(text, "bad") }}{{ bar(2.5, text, true) }}{{ missing }}{% endblock %}'
    )
    template = html_templates(tmp_path).get_template("own.html")
    page = template.render(text="a < b", missing="")
    assert '<span class="pill bad">a &lt; b</span>' in page
    assert "width: 100%" in page
    with pytest.raises(UndefinedError, match="'missing' is undefined"):
        template.render(text="a < b")
