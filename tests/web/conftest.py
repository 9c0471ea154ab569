"""The page, for all tests."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from page_client import Client, opened, serving

from fourfold_web import zoo

VENDOR = Path(__file__).parents[2] / "src" / "fourfold_web" / "static" / "vendor"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")

FLAGS = ("--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
"""The browser has a microphone that beeps."""


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    library = pytest.importorskip("playwright.sync_api", reason="driving a browser needs playwright: make web")
    if CHROMIUM is None:
        pytest.skip("driving a browser needs chromium: apt-get install chromium, or name it by CHROMIUM=")
    with library.sync_playwright() as playwright:
        program = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield program
        program.close()


@pytest.fixture(scope="session")
def page() -> Iterator[Client]:
    with serving({f"zoo/{name}": zoo.folder_of(name) for name in zoo.names()}) as client:
        yield client


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


@pytest.fixture(params=[(1280, "light"), (390, "dark")], ids=str)
def tab(browser: Any, page: Client, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A wide page, and a phone in the dark: for what both lay out differently."""
    with opened(browser, page, *request.param) as opened_page:
        yield opened_page


@pytest.fixture
def desk(browser: Any, page: Client) -> Iterator[Any]:
    """A wide page, for what is alike on a phone."""
    with opened(browser, page, 1280, "light") as opened_page:
        yield opened_page


@pytest.fixture
def phone(browser: Any, page: Client) -> Iterator[Any]:
    """A phone in the dark, for what is alike on a wide page."""
    with opened(browser, page, 390, "dark") as opened_page:
        yield opened_page
