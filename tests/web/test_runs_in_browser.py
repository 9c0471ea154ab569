"""Runs of every kind in a browser: every tab is opened, used, and held against axe."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from page_client import Client, nothing_serious, opened, serving
from PIL import Image

import fourfold
from every_space import OF_WINGS
from fourfold.core import GenerativeModel
from fourfold.engine import Run
from fourfold.spaces import Images, Lines, Text, Vectors

sounds = pytest.importorskip("fourfold_speech.space", reason="transcripts are of the wing speech")
pytestmark = pytest.mark.web

LETTERS = "\n" + "".join(sorted({*"You: Model: abcdefghijklmnopqrstuvwxyz .?"}))
TABLE = fourfold.load(
    pd.DataFrame({"age": [i + 0.5 for i in range(20, 56)], "kind <b>": ["a", "b", "a", "<i>c</i>"] * 9})
).space
EVENTS = pd.DataFrame({"user": [i // 3 for i in range(90)], "at": range(90), "event": ["view", "buy", "cart"] * 30})
TONE = sounds.wav((9000 * torch.sin(torch.arange(4000) / 5)).to(torch.int16), rate=8000)


def models() -> Mapping[str, GenerativeModel]:
    torch.manual_seed(0)
    spaces = {
        "text": ("autoregressive", Text(LETTERS, 64)),
        "said": ("autoregressive", Lines.of_bytes(6).conditioned_on(sounds.Audio(4000, 8000))),
        "rows": ("autoregressive", TABLE),
        "events": ("autoregressive", fourfold.load(EVENTS, group="user", order="at").space),
        **{name: ("diffusion", space) for name, space in OF_WINGS.items()},
        "finer": ("diffusion", Images(1, 8, 8, given=Images(1, 4, 4))),
        "numbers": ("flow", Vectors(2, given=Vectors(3))),
    }
    return {name: fourfold.build(recipe, space, size="xs") for name, (recipe, space) in spaces.items()}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("kinds")
    runs = {name: Path(Run(model).save(folder / name).folder or "") for name, model in models().items()}
    with serving(runs) as client:
        yield client


@pytest.fixture
def tab(browser: Any, page: Client) -> Iterator[Any]:
    with opened(browser, page, 1280, "light") as opened_page:
        yield opened_page


def show(tab: Any, run: str, title: str) -> None:
    """Open a tab of a run."""
    tab.goto(f"{tab.url.split('#')[0]}#/runs/{run}")
    tab.click(f".tabs button:text-is('{title}')")


def settled(tab: Any) -> None:
    """Wait until nothing is drawn any more."""
    tab.wait_for_selector("[aria-busy]", state="detached")
    assert tab.is_hidden("#notice"), tab.inner_text("#notice")


@pytest.mark.parametrize("run", ["text", "said", "rows", "events", *OF_WINGS, "finer", "numbers"])
def test_every_tab_of_a_run_works_and_axe_finds_nothing_serious(tab: Any, axe: str, run: str):
    tab.goto(f"{tab.url.split('#')[0]}#/runs/{run}")
    tab.wait_for_selector(".tabs button")
    for title in tab.locator(".tabs button").all_inner_texts():
        show(tab, run, title)
        settled(tab)
        nothing_serious(tab, axe, [(390, "dark"), (1280, "light")])


def test_a_dialogue_goes_on_and_begins_anew(tab: Any):
    show(tab, "text", "Chat")
    tab.fill("input >> nth=0", "8")
    for turn in ("hello", "who are you?"):
        tab.fill("textarea", turn)
        tab.press("textarea", "Enter")
        tab.wait_for_selector(f".turns li.own:has-text('{turn}')")
        settled(tab)
    assert tab.locator(".turns li").count() == 4
    tab.click("text=Begin anew")
    assert tab.locator(".turns li").count() == 0


def test_a_touched_word_is_typed(tab: Any):
    show(tab, "text", "Keyboard")
    tab.fill("textarea", "yo")
    with tab.expect_response("**/answer"):
        pass
    tab.wait_for_selector(".words button")
    tab.wait_for_timeout(500)
    word = tab.locator(".words button b").first.inner_text()
    tab.locator(".words button").first.click()
    assert tab.input_value("textarea") in (f"{word} ", f"yo {word} ")


def test_a_file_and_the_microphone_are_transcribed(tab: Any):
    pytest.importorskip("soundfile", reason="sound is read with the extra 'audio'")
    show(tab, "said", "Transcribe")
    tab.set_input_files("input[type=file]", {"name": "tone.wav", "mimeType": "audio/wav", "buffer": TONE})
    tab.wait_for_selector(".transcript li:has-text('nats')")
    tab.evaluate("document.querySelector('.transcript').replaceChildren()")
    tab.click("text=Record")  # the browser of the tests has a device that beeps
    tab.wait_for_timeout(2500)
    tab.click("text=Stop recording")
    tab.wait_for_selector(".transcript li:has-text('nats')")


def test_a_picture_is_the_condition_of_pictures(tab: Any, tmp_path: Path):
    Image.new("L", (4, 4), 200).save(tmp_path / "coarse.png")
    show(tab, "finer", "Samples")
    settled(tab)
    tab.set_input_files("input[type=file]", tmp_path / "coarse.png")
    tab.fill("input[type=number] >> nth=0", "3")
    tab.click("text=Draw")
    tab.wait_for_selector(".given .picture")
    settled(tab)
    assert tab.locator(".samples > .picture").count() == 3 + 1
    assert tab.locator(".given .picture").count() == 1


def test_given_values_of_a_row_are_kept(tab: Any):
    show(tab, "rows", "Samples")
    settled(tab)
    tab.fill(".cells input", "31.5")
    tab.fill("input[type=number] >> nth=0", "5")
    tab.click("text=Draw")
    tab.wait_for_selector("tbody tr >> nth=4")
    settled(tab)
    assert tab.locator("tbody td:first-child").all_inner_texts() == ["31.5"] * 5


def test_numbers_of_a_condition_are_written_and_wrong_ones_are_refused(browser: Any, page: Client):
    context = browser.new_context()
    tab = context.new_page()
    tab.goto(page.address)
    show(tab, "numbers", "Samples")
    settled(tab)
    tab.fill("input[placeholder^='0.5']", "0.5, 1 -2")
    tab.click("text=Draw")
    settled(tab)
    tab.fill("input[placeholder^='0.5']", "<b>")
    tab.click("text=Draw")
    tab.wait_for_selector("#notice:has-text('must be numbers')")
    context.close()


def test_a_training_shows_its_curves_before_its_first_checkpoint_and_all_after_it(
    browser: Any, axe: str, page: Client, tmp_path: Path
):
    whole = Path(Run(models()["numbers"]).save(tmp_path / "whole").folder or "")
    begun = tmp_path / "begun"
    begun.mkdir()
    for name in ("model.json", "card.json"):
        (begun / name).write_bytes((whole / name).read_bytes())
    (begun / "log.jsonl").write_text("".join(f'{{"step": {i}, "loss": {1 / i}}}\n' for i in range(1, 9)))
    with serving({"begun": begun}) as client, opened(browser, client, 1280, "light") as tab:
        tab.goto(f"{tab.url.split('#')[0]}#/runs/begun")
        tab.wait_for_selector(".curves figure:has-text('loss')")
        nothing_serious(tab, axe, [(390, "dark"), (1280, "light")])
        (begun / "weights.safetensors").write_bytes((whole / "weights.safetensors").read_bytes())
        tab.wait_for_selector(".tabs button:text-is('Samples')")
        settled(tab)
