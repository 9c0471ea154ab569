"""Every view in a browser: opened, used, without an error in its console, and held against axe."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from page_client import Client, opened

pytestmark = pytest.mark.web

VIEWS = ["paradigms", "map", "place", "runs", "compare"]


@pytest.fixture(params=[(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")], ids=str)
def any_tab(browser: Any, page: Client, request: pytest.FixtureRequest) -> Iterator[Any]:
    with opened(browser, page, *request.param) as opened_page:
        yield opened_page


@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing_serious(any_tab: Any, axe: str, view: str):
    any_tab.goto(f"{any_tab.url.split('#')[0]}#/{view}")
    any_tab.wait_for_selector(f".view.{view} *")
    any_tab.wait_for_timeout(300)
    any_tab.evaluate(axe)
    rows = any_tab.evaluate("axe.run().then((result) => result.violations)")
    serious = [row for row in rows if row["impact"] in ("serious", "critical")]
    assert [(row["id"], [node["html"][:200] for node in row["nodes"]]) for row in serious] == []


def test_the_map_finds_a_system_and_shows_two_side_by_side(tab: Any):
    tab.goto(f"{tab.url.split('#')[0]}#/map")
    tab.fill("input[type=search]", "stable diffusion")
    tab.click(".names button:has-text('Stable Diffusion') >> nth=0")
    assert "training objective" in tab.inner_text(".system")
    tab.fill("input[list=systems]", "VAE")
    tab.press("input[list=systems]", "Tab")
    tab.wait_for_selector(".beside .system:nth-child(2)")
    assert tab.locator(".system").count() == 2
    assert tab.url.count("/") >= 5


def test_the_whole_map_has_the_names_that_most_readers_know(tab: Any):
    tab.goto(f"{tab.url.split('#')[0]}#/map")
    least = 36 if tab.viewport_size["width"] > 800 else 24  # of 40 that the atlas ranks for the whole map
    canvas = tab.wait_for_selector(".map canvas[data-names]")
    tab.wait_for_timeout(1500)
    assert least <= int(canvas.get_attribute("data-names")) <= 40


@pytest.mark.parametrize("view", ["paradigms", "map"])
def test_a_view_that_is_opened_first_needs_less_than_400_kilobytes(tab: Any, view: str):
    tab.goto(f"{tab.url.split('#')[0]}#/{view}")
    tab.reload()
    tab.wait_for_selector(f".view.{view} canvas")
    tab.wait_for_load_state("networkidle")
    script = "performance.getEntries().reduce((sum, entry) => sum + (entry.transferSize ?? 0), 0)"
    assert tab.evaluate(script) < 400_000


def test_a_text_is_placed_and_its_sentences_are_marked(tab: Any):
    tab.goto(f"{tab.url.split('#')[0]}#/place")
    tab.fill("textarea", "The generator fools a discriminator. Samples map noise once through the generator.")
    tab.click("text=Place it")
    tab.wait_for_selector(".verdict .answer:has-text('adversarial')")
    assert "discriminator" in " ".join(tab.locator("mark.phrase").all_inner_texts())
    tab.click(".evidence button:enabled >> nth=0")
    tab.wait_for_selector("mark.here")


def test_a_name_of_script_is_shown_as_text(tab: Any):
    tab.goto(f"{tab.url.split('#')[0]}#/place")
    tab.fill("textarea", "<img src=x onerror=alert(1)> <script>alert(2)</script> The generator fools a discriminator.")
    tab.click("text=Place it")
    tab.wait_for_selector(".marked")
    assert tab.locator(".marked img, .marked script").count() == 0
    assert "onerror" in tab.inner_text(".marked")


def test_a_run_of_pictures_draws_walks_and_fills(tab: Any):
    tab.goto(f"{tab.url.split('#')[0]}#/runs/zoo/digits/latent-variable")
    tab.wait_for_selector(".samples .picture img", timeout=60_000)
    tab.wait_for_selector("button.first:has-text('Draw')", timeout=60_000)
    assert tab.locator(".samples .picture").count() == 24
    tab.click(".tabs >> text=In between")
    tab.wait_for_selector(".walk .large img", timeout=60_000)
    before = tab.get_attribute(".walk .large img", "src")
    tab.locator(".walk input").fill("11")
    assert tab.get_attribute(".walk .large img", "src") != before
    tab.click(".tabs >> text=About")
    assert "training objective" in tab.inner_text(".room")


def test_a_run_of_points_draws_and_scores(tab: Any, tmp_path: Path):
    tab.goto(f"{tab.url.split('#')[0]}#/runs/zoo/two-moons/flow")
    tab.wait_for_selector("button.first:has-text('Draw')", timeout=60_000)
    assert tab.locator(".scatter .drawn").count() == 1
    file = tmp_path / "points.csv"
    file.write_text("x,y\n0.5,0.2\n-0.4,0.9\n1.5,-0.4\n")
    tab.click(".tabs >> text=Likelihood")
    tab.set_input_files(".room input[type=file]", str(file))
    tab.wait_for_selector(".figure-line", timeout=60_000)
    assert "exact" in tab.inner_text(".figure-line")


def test_the_keyboard_reaches_every_view(tab: Any):
    for number, view in enumerate(VIEWS, 1):
        tab.keyboard.press(str(number))
        tab.wait_for_selector(f".view.{view} *")
        assert tab.locator(f"nav a[data-view={view}][aria-current=page]").count() == 1


def test_wide_pages_do_not_scroll_sideways(tab: Any):
    for view in VIEWS:
        tab.goto(f"{tab.url.split('#')[0]}#/{view}")
        tab.wait_for_selector(f".view.{view} *")
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
