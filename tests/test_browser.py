"""The notebooks in JupyterLab, in a real browser, as a person sees them."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 90
RUN_SECONDS = 180


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """JupyterLab on loopback, with settings and a copy of the notebooks of its own: (address, token)."""
    home, project = tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("project")
    for folder in ("notebooks", "parameters"):  # Lab saves what it runs
        shutil.copytree(ROOT / folder, project / folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url, token = f"http://127.0.0.1:{port}", secrets.token_hex(16)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}",
               "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={project}",
               "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    mine = {name: str(home / name.lower()) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR",
                                                        "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR",
                                                        "IPYTHONDIR")}
    news = home / "jupyterlab_settings_dir" / "@jupyterlab" / "apputils-extension"
    news.mkdir(parents=True)
    (news / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
    with (home / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=project, env=os.environ | mine, stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait(lambda: _answers(f"{url}/api/status?token={token}"), START_SECONDS, (home / "log").read_text)
        yield url, token
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()


def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=2)
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def _wait(done, seconds: float, why) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"nothing after {seconds} s: {why()}"
        time.sleep(0.2)


def _idle_kernel(url: str, token: str, notebook: str) -> bool:
    """Whether the server has a kernel that the notebook's page is connected to; the page's own word comes too early."""
    with urllib.request.urlopen(f"{url}/api/sessions?token={token}", timeout=5) as answer:
        kernels = [s["kernel"] for s in json.load(answer) if s["path"].endswith(notebook)]
    return any(k["execution_state"] == "idle" and k["connections"] > 0 for k in kernels)


@pytest.mark.parametrize(("notebook", "figures", "seen"), [
    ("00_start_here.ipynb", 1, ["Final account value", "look-ahead"]),
    ("10_backtest.ipynb", 5, ["Final account value", "look-ahead", "Exit by", "33 trades, final account value"]),
])
def test_a_notebook_runs_and_shows_its_report(lab, chromium, tmp_path, notebook, figures, seen):
    from playwright.sync_api import sync_playwright

    url, token = lab
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"])
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.goto(f"{url}/lab/tree/notebooks/{notebook}?token={token}&reset")
        page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell", timeout=1000 * START_SECONDS)
        _wait(lambda: _idle_kernel(url, token, notebook), START_SECONDS, lambda: "no kernel")
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        panel = page.locator(".jp-NotebookPanel")
        cells = json.loads((ROOT / "notebooks" / notebook).read_text())["cells"]
        last = sum(c["cell_type"] == "code" for c in cells)
        # JupyterLab draws the cells in view only, so the last one is brought there.
        _wait(lambda: _finished(page, panel, last), RUN_SECONDS, lambda: page.screenshot(path=tmp_path / "late.png"))
        text, images = _read_through(page, panel)
        browser.close()
    assert "Traceback" not in text and "Error" not in text
    assert [words for words in seen if words not in text] == []
    assert len(images) == figures


def _finished(page, panel, last: int) -> bool:
    panel.locator(".jp-WindowedPanel-outer").first.evaluate("e => e.scrollTo(0, e.scrollHeight)")
    page.wait_for_timeout(300)
    return panel.get_by_text(f"[{last}]:", exact=True).count() > 0


def _read_through(page, panel) -> tuple[str, set[str]]:
    """All the text of the notebook and its distinct figures, scrolling from its top to its end."""
    outer = panel.locator(".jp-WindowedPanel-outer").first
    outer.evaluate("e => e.scrollTo(0, 0)")
    text, images, at = "", set(), -1.0
    while True:
        page.wait_for_timeout(250)
        text += panel.inner_text()
        images |= set(panel.locator(".jp-OutputArea-output img").evaluate_all("all => all.map(i => i.src)"))
        now = outer.evaluate("e => { e.scrollBy(0, 700); return e.scrollTop }")
        if now == at:
            return text, images
        at = now
