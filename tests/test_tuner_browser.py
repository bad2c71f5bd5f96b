"""The tuner in JupyterLab, in a real browser, by keyboard: a slider moves the marker, and a point is saved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_browser import START_SECONDS, _idle_kernel, _wait, lab  # noqa: F401  # the fixture
from test_panel_browser import put

from botlib import notebook_params

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ROOT = Path(__file__).resolve().parent.parent
SMALL = {"symbols": ["AAPL", "IBM"], "period": "5y", "steps": 8, "db": "tuner.sqlite"}
IMAGES = ".jp-OutputArea-output img"


def sources(page):
    return page.locator(IMAGES).evaluate_all("all => all.map(i => i.src)")


def reads(page, selector, words, seconds=START_SECONDS):
    page.wait_for_function(
        "([s, w]) => { const e = document.querySelector(s); return e && e.textContent.includes(w) }",
        arg=[selector, words], timeout=1000 * seconds)


def opened(browser, url, token, name):
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.goto(f"{url}/lab/tree/notebooks/{name}?token={token}&reset")
    page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell", timeout=1000 * START_SECONDS)
    _wait(lambda: _idle_kernel(url, token, name), START_SECONDS, lambda: "no kernel")
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.wait_for_selector(".botlib-meter", timeout=1000 * START_SECONDS, state="attached")
    page.wait_for_function("() => !document.querySelector('.botlib-meter').textContent.includes('Being worked out')",
                           timeout=1000 * START_SECONDS)
    return page


def small(values):
    notebook = json.loads((ROOT / "notebooks" / "50_tune.ipynb").read_text(encoding="utf-8"))
    cell = next(c for c in notebook["cells"] if "parameters" in c["metadata"].get("tags", []))
    cell["source"] = notebook_params.rewritten("".join(cell["source"]), values, "50_tune")
    return notebook


def test_a_slider_moves_the_marker_and_a_point_is_saved(lab, chromium, tmp_path):  # noqa: F811
    from playwright.sync_api import sync_playwright

    url, token = lab
    put(url, token, "notebooks/tuner.ipynb", small(SMALL))
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"])
        page = opened(browser, url, token, "tuner.ipynb")
        said = page.locator(".botlib-point").text_content()
        assert "rsi_period 14" in said
        before = sources(page)
        assert len(before) == 2
        page.locator(".noUi-handle").first.focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_function("b => { const all = [...document.querySelectorAll('" + IMAGES + "')].map(i => i.src);"
                               "return all.length == 2 && all[0] != b[0] && all[1] != b[1] }", arg=before,
                               timeout=1000 * START_SECONDS)  # account and marker
        page.wait_for_function("() => !document.querySelector('.botlib-point').textContent.includes('rsi_period 14')",
                               timeout=1000 * START_SECONDS)
        page.screenshot(path=tmp_path / "moved.png")
        name = page.get_by_placeholder("a new name")
        name.fill("no/such name")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        reads(page, ".botlib-said", "use up to 60 letters")
        name.fill("by_keyboard")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        reads(page, ".botlib-said", "Saved parameters/by_keyboard.yaml")
        page.screenshot(path=tmp_path / "saved.png")
        browser.close()
