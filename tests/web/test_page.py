"""Every view in a browser: opened, used, without an error in its console, and held against axe."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from page_client import Client

pytestmark = pytest.mark.web

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
VENDOR = Path(__file__).parents[2] / "src" / "fourfold_web" / "static" / "vendor"
VIEWS = ["map", "place"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    library = pytest.importorskip("playwright.sync_api", reason="driving a browser needs playwright: make web")
    if CHROMIUM is None:
        pytest.skip("driving a browser needs chromium: apt-get install chromium, or name it by CHROMIUM=")
    with library.sync_playwright() as playwright:
        program = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield program
        program.close()


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The checks of axe-core, from the npm registry by the lock file."""
    folder = tmp_path_factory.mktemp("axe")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(VENDOR / name, folder)
    command = ["npm", "ci", "--ignore-scripts", "--silent", "--no-audit"]
    if shutil.which("npm") is None or subprocess.run(command, cwd=folder, check=False).returncode:
        pytest.skip("axe comes from the npm registry, got no npm or no registry")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(params=[(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")], ids=str)
def tab(browser: Any, page: Client, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A page that is open, whose console stays silent."""
    width, theme = request.param
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=theme, bypass_csp=True)
    opened, errors = context.new_page(), list[str]()
    opened.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto(page.address)
    yield opened
    context.close()
    assert errors == []


@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing_serious(tab: Any, axe: str, view: str):
    tab.goto(f"{tab.url.split('#')[0]}#/{view}")
    tab.wait_for_selector(f".view.{view} *")
    tab.wait_for_timeout(300)
    tab.evaluate(axe)
    rows = tab.evaluate("axe.run().then((result) => result.violations)")
    serious = [row for row in rows if row["impact"] in ("serious", "critical")]
    assert [(row["id"], [node["html"][:200] for node in row["nodes"]]) for row in serious] == []


def test_the_map_finds_a_system_and_shows_two_side_by_side(tab: Any):
    tab.fill("input[type=search]", "stable diffusion")
    tab.click(".names button:has-text('Stable Diffusion') >> nth=0")
    assert "training objective" in tab.inner_text(".system")
    tab.fill("input[list=systems]", "VAE")
    tab.press("input[list=systems]", "Tab")
    tab.wait_for_selector(".beside .system:nth-child(2)")
    assert tab.locator(".system").count() == 2
    assert tab.url.count("/") >= 5


def test_wide_pages_do_not_scroll_sideways(tab: Any):
    for view in VIEWS:
        tab.goto(f"{tab.url.split('#')[0]}#/{view}")
        tab.wait_for_selector(f".view.{view} *")
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
