"""Every view in a browser: opened, used, without an error in its console, and held against axe."""

from pathlib import Path
from typing import Any

import pytest
from page_client import nothing_serious

pytestmark = pytest.mark.web

VIEWS = ["paradigms", "map", "place", "runs", "compare"]


@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing_serious(desk: Any, axe: str, view: str):
    desk.goto(f"{desk.url.split('#')[0]}#/{view}")
    desk.wait_for_selector(f".view.{view} *")
    desk.wait_for_timeout(300)
    nothing_serious(desk, axe)


def test_the_map_finds_a_system_and_shows_two_side_by_side(tab: Any):
    tab.goto(f"{tab.url.split('#')[0]}#/map")
    tab.fill("input[type=search]", "stable diffusion")
    tab.click(".names button:has-text('Stable Diffusion') >> nth=0")
    assert "training objective" in tab.inner_text(".system")
    assert tab.locator(".system .facts a[href^='https://huggingface.co/']").count() == 1
    tab.fill("input[list=systems]", "VAE")
    tab.press("input[list=systems]", "Tab")
    tab.wait_for_selector(".beside .system:nth-child(2)")
    assert tab.locator(".system").count() == 2
    assert tab.url.count("/") >= 5


def test_the_map_is_filtered_by_open_weights(desk: Any):
    desk.goto(f"{desk.url.split('#')[0]}#/map")
    counts = []
    for kind in ("open", "withheld", "unstated", ""):
        desk.select_option("select[aria-label='Any weights']", kind)
        counts.append(int(desk.inner_text(".bar .count").split()[0].replace(",", "")))
    assert sum(counts[:3]) == counts[3]
    assert min(counts) > 0


def test_the_whole_map_has_the_names_that_most_readers_know(tab: Any):
    tab.goto(f"{tab.url.split('#')[0]}#/map")
    least = 36 if tab.viewport_size["width"] > 800 else 24  # of 40 that the atlas ranks for the whole map
    canvas = tab.wait_for_selector(".map canvas[data-names]")
    tab.wait_for_timeout(1500)
    assert least <= int(canvas.get_attribute("data-names")) <= 40


@pytest.mark.parametrize("view", ["paradigms", "map"])
def test_a_view_that_is_opened_first_needs_less_than_400_kilobytes(desk: Any, view: str):
    desk.goto(f"{desk.url.split('#')[0]}#/{view}")
    desk.reload()
    desk.wait_for_selector(f".view.{view} canvas")
    desk.wait_for_load_state("networkidle")
    script = "performance.getEntries().reduce((sum, entry) => sum + (entry.transferSize ?? 0), 0)"
    assert desk.evaluate(script) < 400_000


def test_a_text_is_placed_and_its_sentences_are_marked(phone: Any, axe: str):
    phone.goto(f"{phone.url.split('#')[0]}#/place")
    phone.fill("textarea", "The generator fools a discriminator. A VAE encodes. Samples map noise once through it.")
    phone.click("text=Place it")
    phone.wait_for_selector(".verdict .answer:has-text('adversarial')")
    assert "discriminator" in " ".join(phone.locator("mark.phrase").all_inner_texts())
    phone.click(".evidence button:enabled >> nth=0")
    phone.wait_for_selector("mark.here")
    nothing_serious(phone, axe)


def test_a_name_of_script_is_shown_as_text(desk: Any):
    desk.goto(f"{desk.url.split('#')[0]}#/place")
    desk.fill("textarea", "<img src=x onerror=alert(1)> <script>alert(2)</script> The generator fools a discriminator.")
    desk.click("text=Place it")
    desk.wait_for_selector(".marked")
    assert desk.locator(".marked img, .marked script").count() == 0
    assert "onerror" in desk.inner_text(".marked")


def test_a_run_of_pictures_draws_walks_and_fills(phone: Any):
    phone.goto(f"{phone.url.split('#')[0]}#/runs/zoo/digits/latent-variable")
    phone.wait_for_selector(".samples .picture img", timeout=60_000)
    phone.wait_for_selector("button.first:has-text('Draw')", timeout=60_000)
    assert phone.locator(".samples .picture").count() == 24
    phone.click(".tabs >> text=In between")
    phone.wait_for_selector(".walk .large img", timeout=60_000)
    before = phone.get_attribute(".walk .large img", "src")
    phone.locator(".walk input").fill("11")
    assert phone.get_attribute(".walk .large img", "src") != before
    phone.click(".tabs >> text=About")
    assert "training objective" in phone.inner_text(".room")


def test_a_run_of_points_draws_and_scores(desk: Any, tmp_path: Path):
    desk.goto(f"{desk.url.split('#')[0]}#/runs/zoo/two-moons/flow")
    desk.wait_for_selector("button.first:has-text('Draw')", timeout=60_000)
    assert desk.locator(".scatter .drawn").count() == 1
    file = tmp_path / "points.csv"
    file.write_text("x,y\n0.5,0.2\n-0.4,0.9\n1.5,-0.4\n")
    desk.click(".tabs >> text=Likelihood")
    desk.set_input_files(".room input[type=file]", str(file))
    desk.wait_for_selector(".figure-line", timeout=60_000)
    assert "exact" in desk.inner_text(".figure-line")


def test_the_keyboard_reaches_every_view(desk: Any):
    for number, view in enumerate(VIEWS, 1):
        desk.keyboard.press(str(number))
        desk.wait_for_selector(f".view.{view} *")
        assert desk.locator(f"nav a[data-view={view}][aria-current=page]").count() == 1


def test_the_keyboard_stays_at_the_card_of_a_system_that_it_chose(desk: Any):
    desk.goto(f"{desk.url.split('#')[0]}#/map")
    desk.focus(".names button >> nth=2")
    desk.keyboard.press("Enter")
    desk.wait_for_selector(".system")
    assert desk.evaluate("document.activeElement.textContent") == "← All systems"
    desk.keyboard.press("Enter")
    assert desk.evaluate("document.activeElement.closest('.names') !== null")
