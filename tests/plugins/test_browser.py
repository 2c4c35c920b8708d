"""The pages in Chromium: no problem in the console, no horizontal scrolling, and a dark colour scheme."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI

from benchmarks.page_world import write_year
from include.settings import Settings, get_settings
from tests.plugins.browser import Tab, browser, find_chromium
from tests.plugins.servers import listening

pytestmark = [pytest.mark.airflow, pytest.mark.slow]


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    binary = find_chromium()
    if binary is None:
        pytest.skip("Chromium is not installed")
    with browser(binary, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def address(airflow_app: FastAPI, churn_app: FastAPI, settings: Settings) -> Iterator[str]:
    churn_app.dependency_overrides[get_settings] = lambda: settings
    with listening(airflow_app) as url:
        yield url
    churn_app.dependency_overrides.clear()


def test_pages_fit_the_window_and_have_no_problems(
    tab: Tab, address: str, settings: Settings, token: Callable[[str | None], str], tmp_path: Path
) -> None:
    tab.call("Network.setCookie", name="_token", value=token("viewer"), url=address)
    pages = ["/churn/health", "/churn/reports", "/churn/view/drift/2026-11-30/index.html"]
    empty = [(pages[0], width, "light") for width in (1280, 400)]
    for path, width, scheme in empty:
        check(tab, address + path, width, scheme)
    write_year(settings, days=90, features=60)
    colours = {}
    for path in pages:
        for width, scheme in ((1280, "light"), (400, "light"), (1280, "dark")):
            check(tab, address + path, width, scheme)
            colours[scheme] = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert colours["light"] != colours["dark"]
    tab.open(address + pages[0], 1280, scheme="dark")
    charts = tab.evaluate("document.querySelectorAll('svg[role=img][aria-label]').length")
    assert charts == tab.evaluate("document.querySelectorAll('svg').length") > 2
    lines = tab.evaluate("[...document.querySelectorAll('.plot svg')].map(svg => svg.getBoundingClientRect().height)")
    assert all(height > 100 for height in lines)
    assert tab.problems == []


def check(tab: Tab, address: str, width: int, scheme: str) -> None:
    tab.open(address, width, scheme=scheme)
    assert tab.evaluate("document.title") != ""
    assert tab.evaluate("document.body.innerText.length") > 50, address
    assert tab.width() == width, f"{address} scrolls horizontally at {width} pixels"
    assert tab.problems == [], address
