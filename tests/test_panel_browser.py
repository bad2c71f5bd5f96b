"""A paper session in JupyterLab, in a real browser: its panel moves, survives a reload, and its buttons act."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest
from test_browser import (  # noqa: F401  # the fixture
    START_SECONDS,
    _finished,
    _idle_kernel,
    _read_through,
    _wait,
    lab,
)

from botlib import notebook_params

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ROOT = Path(__file__).resolve().parent.parent
VIEW = "document.querySelector('.botlib-panel')"
ACCELERATED = {"speed": 20_000.0, "poll_seconds": 3_600.0, "iterations": 0, "db": "panel.sqlite", "replay_seed": 37}


def put(url, token, path, notebook):
    body = json.dumps({"type": "notebook", "format": "json", "content": notebook}).encode()
    asked = urllib.request.Request(f"{url}/api/contents/{path}?token={token}", data=body, method="PUT",
                                   headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=10) as answer:
        assert answer.status in (200, 201)


def paper(url, token, name, **values):
    """The notebook of paper sessions with an accelerated replay that does not end."""
    notebook = json.loads((ROOT / "notebooks" / "30_paper.ipynb").read_text(encoding="utf-8"))
    cell = next(c for c in notebook["cells"] if "parameters" in c["metadata"].get("tags", []))
    cell["source"] = notebook_params.rewritten("".join(cell["source"]), ACCELERATED | values, "30_paper")
    put(url, token, f"notebooks/{name}", notebook)
    return notebook


def opened(browser, url, token, name, workspace):
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.goto(f"{url}/lab/workspaces/{workspace}/tree/notebooks/{name}?token={token}&reset")
    page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell", timeout=1000 * START_SECONDS)
    _wait(lambda: _idle_kernel(url, token, name), START_SECONDS, lambda: "no kernel")
    run_all(page)
    page.wait_for_selector(".botlib-panel", timeout=1000 * START_SECONDS, state="attached")
    return page


def run_all(page):
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def saved(url, token, path):
    with urllib.request.urlopen(f"{url}/api/contents/{path}?content=0&token={token}", timeout=10) as answer:
        return json.load(answer)["last_modified"]


def as_of(page):
    return page.locator(".botlib-as-of").first.text_content()


def moves(page, seconds=START_SECONDS):
    before = as_of(page)
    _wait(lambda: page.wait_for_timeout(200) or as_of(page) != before, seconds, lambda: f"still as of {before}")


def says(page, words, seconds=START_SECONDS):
    page.wait_for_function(f"() => {VIEW} && {VIEW}.textContent.includes('{words}')", timeout=1000 * seconds)


def test_a_panel_moves_survives_a_reload_is_seen_elsewhere_and_stops_the_session(lab, chromium, tmp_path):  # noqa: F811
    from playwright.sync_api import sync_playwright

    url, token = lab
    notebook = paper(url, token, "session.ipynb")
    elsewhere = {"cells": [{"cell_type": "code", "id": "show", "metadata": {}, "execution_count": None, "outputs": [],
                            "source": "import botlib.panel\nbotlib.panel.show(db='panel.sqlite')"}],
                 "metadata": notebook["metadata"], "nbformat": 4, "nbformat_minor": 5}
    put(url, token, "notebooks/elsewhere.ipynb", elsewhere)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"])
        page = opened(browser, url, token, "session.ipynb", "one")
        moves(page)
        page.evaluate(f"() => {VIEW}.scrollIntoView()")
        page.get_by_role("button", name="Reduce only").click()
        says(page, "REDUCE ONLY")
        page.get_by_role("button", name="Kill …").click()
        page.get_by_role("button", name="No", exact=True).click()  # it asks once more, and nothing has happened
        page.screenshot(path=tmp_path / "running.png")
        before = saved(url, token, "notebooks/session.ipynb")
        page.keyboard.press("Control+s")
        _wait(lambda: saved(url, token, "notebooks/session.ipynb") != before, START_SECONDS, lambda: "not saved")
        page.reload()
        page.wait_for_selector(".botlib-panel", timeout=1000 * START_SECONDS, state="attached")
        moves(page)  # though the kernel waits in its cell
        other = opened(browser, url, token, "elsewhere.ipynb", "two")
        moves(other)
        says(other, "REDUCE ONLY")
        page.evaluate(f"() => {VIEW}.scrollIntoView()")
        page.get_by_role("button", name="Stop", exact=True).click()
        says(other, "ENDED: user-cancelled")
        text = other.locator(".botlib-panel").first.text_content()
        other.screenshot(path=tmp_path / "ended.png")
        browser.close()
    assert text.count("stop asked for by") == 2 and "HALTED" not in text  # above, and among the events
    assert "This view stands still" not in text


CUT_OFF = """() => {
    const panel = document.querySelector('.botlib-panel'), cell = panel.closest('.jp-OutputArea-output');
    const right = panel.getBoundingClientRect().right;
    const out = [...panel.querySelectorAll('*')].filter(
        e => e.getBoundingClientRect().right > right + 1 && !(e.closest('.botlib-wide') && !e.matches('.botlib-wide')));
    return {beyond: right - cell.getBoundingClientRect().right, scrolls: cell.scrollWidth - cell.clientWidth,
            out: out.map(e => e.tagName + ' ' + e.textContent)};
}"""


def test_cells_that_are_run_again_while_the_session_runs_attach_and_the_panel_fits_its_window(
        lab, chromium, tmp_path):  # noqa: F811
    from playwright.sync_api import sync_playwright

    url, token = lab
    paper(url, token, "again.ipynb", db="again.sqlite", replay_start="2008-01-22")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"])
        page = opened(browser, url, token, "again.ipynb", "three")
        moves(page)
        panel = page.locator(".jp-NotebookPanel")
        first = page.locator(".botlib-panel").first.element_handle()
        run_all(page)  # every output but those of the first cells is gone until its cell's turn comes
        page.wait_for_function("e => !e.isConnected", arg=first, timeout=1000 * START_SECONDS)
        page.wait_for_selector(".botlib-panel", timeout=20_000, state="attached")  # the session never ends by itself
        moves(page)
        says(page, "ACTIVE")
        page.screenshot(path=tmp_path / "again.png")
        for width in (1280, 800, 480):
            page.set_viewport_size({"width": width, "height": 1000})
            page.wait_for_timeout(500)
            found = page.evaluate(CUT_OFF)
            page.screenshot(path=tmp_path / f"{width}.png")
            assert found["out"] == [] and found["beyond"] <= 1 and found["scrolls"] <= 1, width
        page.set_viewport_size({"width": 1280, "height": 1000})
        page.evaluate(f"() => {VIEW}.scrollIntoView()")
        page.get_by_role("button", name="Stop", exact=True).click()  # of the panel that came back
        says(page, "ENDED: user-cancelled")
        _wait(lambda: _finished(page, panel, 28), START_SECONDS, lambda: "the cells did not come to their end")
        text, _ = _read_through(page, panel)
        browser.close()
    assert "The record of this session" in text and "Traceback" not in text
    assert "No record is written" not in text  # what the cells of the first run said is of no interest any more
