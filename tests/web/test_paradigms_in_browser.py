"""The paradigms at work in a browser: recorded, exported to a disk, and trained live."""

from pathlib import Path
from typing import Any

import pytest

from fourfold_web.export import export_page

pytestmark = pytest.mark.web

INK = """(canvas) => {
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const first = pixels.slice(0, 3).join();
  let count = 0;
  for (let i = 0; i < pixels.length; i += 4) count += pixels.slice(i, i + 3).join() !== first;
  return count;
}"""
"""The number of pixels that differ from the first."""


def scrub(page: Any, share: float) -> None:
    page.locator(".transport input[type=range]").evaluate(
        "(range, value) => { range.value = value; range.dispatchEvent(new Event('input')); }", round(1000 * share)
    )


def play(page: Any) -> None:
    """Use all that a person can use."""
    page.wait_for_selector(".detail canvas")
    scrub(page, 1)
    for canvas in page.locator(".tile canvas").all():
        assert canvas.evaluate(INK) > 100
    for tile in page.locator(".tile").all():
        tile.click()
        assert page.locator(".answers h2").inner_text() == tile.locator(".chip").inner_text()
        assert "training objective" in page.locator(".answers").inner_text()
    before = page.locator(".stage .caption").inner_text()
    page.keyboard.press(",")
    assert page.locator(".stage .caption").inner_text() != before
    page.locator(".transport .first").click()
    page.wait_for_timeout(200)
    assert page.locator(".transport .first").inner_text() == "Pause"
    page.locator(".transport .first").click()
    for box in page.locator(".switches input").all():
        box.click()


CORNER = """() => {
  const pen = new OffscreenCanvas(9, 9).getContext("2d", { willReadFrequently: true });
  pen.drawImage(document.querySelector(".tile canvas"), 0, 0);
  return pen.getImageData(1, 1, 1, 1).data[0];
}"""
"""The red of the paper of the first tile."""


def test_recorded_points_are_played_in_the_light_and_in_the_dark(desk: Any):
    desk.goto(f"{desk.url.split('#')[0]}#/paradigms/two-moons")
    play(desk)
    assert desk.evaluate(CORNER) == 255
    desk.locator(".transport .first").click()
    desk.emulate_media(color_scheme="dark")
    desk.wait_for_timeout(500)
    assert desk.evaluate(CORNER) < 64


def test_recorded_digits_are_played_and_guided_to_a_class(phone: Any):
    phone.goto(f"{phone.url.split('#')[0]}#/paradigms/digits")
    play(phone)
    phone.click(".tile:has-text('diffusion') >> nth=0")
    phone.select_option(".again label:has-text('Class') select", label="3")
    phone.fill(".again label:has-text('Guidance') input", "3")
    phone.click("button:text-is('Draw again')")
    phone.wait_for_selector(".tile:has-text('40 evaluations')")


def test_a_recorded_run_is_drawn_with_too_few_steps(desk: Any):
    desk.goto(f"{desk.url.split('#')[0]}#/paradigms/two-moons/diffusion")
    desk.click(".tile[aria-pressed]:has-text('diffusion') >> nth=0")
    desk.fill(".again label:has-text('Steps') input", "2")
    desk.click("text=Draw again")
    desk.wait_for_selector(".failures .health.bad:has-text('bad')")
    assert "discretisation error" in desk.inner_text(".failures li:has(.health.bad)")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_page(tmp_path_factory.mktemp("page"))


def test_an_exported_page_opens_from_the_disk(browser: Any, folder: Path):
    page, errors = browser.new_page(viewport={"width": 1280, "height": 900}), list[str]()
    page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(folder.as_uri())
    play(page)
    page.goto(f"{folder.as_uri()}#/map")
    page.wait_for_selector(".map .names button")
    assert page.locator("nav a").all_inner_texts() == ["Paradigms", "Map"]
    page.close()
    assert errors == []


def test_whoever_wants_no_motion_sees_the_end(browser: Any, folder: Path):
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    page.goto(folder.as_uri())
    page.wait_for_selector(".detail canvas")
    page.wait_for_timeout(300)
    assert page.locator(".transport .first").inner_text() == "Play"
    assert page.locator(".stage .caption").inner_text().startswith("samples")
    context.close()


def test_models_are_trained_on_a_drawing_and_sampled_again(phone: Any):
    phone.goto(f"{phone.url.split('#')[0]}#/paradigms/train")
    phone.select_option("#live-data", "own")
    phone.click("text=A spiral")
    phone.eval_on_selector("#live-budget", "(select) => select.append(new Option('short', 0.2, true, true))")
    for label in phone.locator("fieldset >> nth=0").locator("label").all():
        if label.inner_text() not in ("diffusion", "autoregressive"):
            label.click()
    phone.click("button:text-is('Train')")
    phone.wait_for_selector(".again", timeout=60_000)
    phone.wait_for_selector("button:text-is('Stop'):disabled", timeout=60_000)
    phone.click(".tile:has-text('diffusion')")
    phone.fill(".again label:has-text('Steps') input", "3")
    phone.click("button:text-is('Draw again')")
    phone.wait_for_selector(".tile:has-text('3 evaluations')", timeout=60_000)
