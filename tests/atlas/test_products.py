"""Names that people ask about: products, versions, links and ids of hubs."""

from pathlib import Path

import pytest

from fourfold_atlas import Cell, place, show
from fourfold_atlas.catalogue import entries, plain
from fourfold_atlas.links import hub_name, key
from fourfold_atlas.names import find
from fourfold_atlas.products import products

NAMES = Path(__file__).parents[2] / "benchmarks" / "atlas_names.tsv"


def test_the_names_that_people_ask_about_are_known():
    rows = [line.split("\t") for line in NAMES.read_text("utf-8").splitlines()]
    assert len(rows) >= 180
    for name, expected in rows:
        placed = place(name)
        verdict = placed.cell.value if placed.cell else "not published" if placed.system else "unknown"
        assert (name, verdict) == (name, expected)


def test_a_mechanism_that_is_not_published_is_an_answer_of_its_own():
    placed = place("Midjourney v7")
    assert placed.cell is None
    assert placed.system == "Midjourney"
    lines = show.text(placed).splitlines()
    assert lines[0] == "Midjourney v7: not published"
    assert "what is known is:" in " ".join(lines[1:4])
    assert "https://" in show.text(placed)


def test_products_name_no_catalogued_system_and_have_sources():
    names = {plain(name) for entry in entries() for name in entry.names}
    assert not names & set(products())
    for product in products().values():
        assert product.source.startswith("https://")
        assert not product.known.endswith(".")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Llama 4", "as the catalogue's Llama 3, an earlier version"),
        ("Stable Diffusion 3.5", "as the catalogue's Stable Diffusion 3, an earlier version"),
        ("openai/whisper-large-v3", "as a version of the catalogue's Whisper"),
        ("meta-llama/Llama-3.1-8B-Instruct", "Llama 3"),
    ],
)
def test_a_version_that_the_catalogue_does_not_have_says_so_in_the_first_line(name, words):
    placed = place(name)
    assert placed.confidence < 1
    shown = show.text(placed)
    assert shown.startswith(f"{placed.subject}: ")
    assert words in " ".join(shown.split())[: len(placed.subject) + 90]


@pytest.mark.parametrize("name", ["GPT-47", "Stable Diffusion 99", "Llama 400"])
def test_an_absurd_version_asks_back(name):
    placed = place(name)
    assert placed.cell is None
    assert placed.missing.startswith("which version is meant")


@pytest.mark.parametrize(
    "link",
    [
        "black-forest-labs/FLUX.1-dev",
        "https://huggingface.co/black-forest-labs/FLUX.1-dev",
        "https://huggingface.co/black-forest-labs/FLUX.1-dev/tree/main",
        "https://github.com/CompVis/stable-diffusion.git",
        "arXiv:2006.11239",
        "2006.11239v2",
        "https://arxiv.org/pdf/2006.11239v2.pdf",
        "https://doi.org/10.48550/arXiv.2006.11239",
    ],
)
def test_links_and_ids_of_catalogued_systems_are_recognised(link):
    assert find(link)[1] == 1.0
    assert place(link).cell is Cell.DIFFUSION


def test_a_link_that_is_not_known_is_not_opened():
    placed = place("https://github.com/nobody/diffusion-of-nothing")
    assert placed.cell is None
    assert "not opened" in placed.missing


def test_keys_of_links():
    assert key("https://www.github.com/A/b/") == key("a/B") == "hub:a/b"
    assert key("doi:10.1145/3065386") == "doi:10.1145/3065386"
    assert key("a sentence about GANs") is None
    assert hub_name("openai/whisper-large-v3") == "whisper-large-v3"
    assert hub_name("Whisper") == ""


def test_a_relative_of_a_catalogued_system_says_of_which():
    placed = place("Vicuna 13B")
    assert (placed.cell, placed.system) == (Cell.AUTOREGRESSIVE, "LLaMA")
    assert "relative of the catalogue's LLaMA" in show.text(placed).splitlines()[0]
    assert placed.evidence[0].quote.startswith("LLaMA, trained further")
    assert place("lmsys/vicuna-7b-v1.5").system == "LLaMA"
    assert all(find(row.like) == (find(row.like)[0], 1.0) for row in products().values() if row.like)


def test_an_id_that_begins_with_a_catalogued_name_says_so_and_prose_asks_back():
    placed = place("facebook/esm2_t33_650M_UR50D")
    assert placed.system == "ESM-2"
    assert "by a part of its name" in show.text(placed).splitlines()[0]
    assert placed.confidence < place("ESM-2").confidence
    assert place("ESM-2 of nobody").system == ""


def test_the_owner_of_an_id_says_nothing():
    assert place("diffusion-lab/an-unknown-thing").cell is None


@pytest.mark.parametrize(("name", "product"), [("GPT-7", "GPT-5"), ("imagen 4 fast", "Imagen 4"), ("gpt-5.5", "GPT-5")])
def test_a_version_that_only_a_product_has_is_the_product(name, product):
    placed = place(name)
    assert (placed.cell, placed.system) == (None, product)


@pytest.mark.parametrize(
    ("name", "system"),
    [
        ("Stabel Diffusion", "Stable Diffusion"),
        ("Midjorney", "Midjourney"),
        ("stable diffussion 3.5", "Stable Diffusion 3"),
    ],
)
def test_a_slip_of_one_letter_inside_a_single_name_says_so(name, system):
    placed = place(name)
    assert placed.system == system
    assert "taken for a slip" in show.text(placed).splitlines()[0]


@pytest.mark.parametrize("name", ["RADTTZ", "zStyleGAN", "GPT-NeoY"])
def test_a_name_that_may_be_another_system_is_no_slip(name):
    """At its ends a letter makes another name, and short names lie close together."""
    assert "taken for a slip" not in place(name).caveat


@pytest.mark.parametrize(
    ("name", "system"),
    [
        ("bark suno", "Bark"),
        ("google gemma 2", "Gemma 2"),
        ("kokoro tts", "Kokoro"),
        ("aurora microsoft", "Aurora (weather)"),
        ("sd 3.5 medium", "Stable Diffusion 3"),
        ("qwen2.5-72b-instruct-awq", "Qwen2.5"),
        ("unsloth/Phi-3-mini-4k-instruct-bnb-4bit", "Phi-3"),
        ("midjourney niji app", "Midjourney"),
        ("ollama run gemma3:27b", "Gemma 2"),
    ],
)
def test_words_beside_a_name_that_fit_its_entry_leave_it_known(name, system):
    placed = place(name)
    assert placed.system == system
    assert placed.confidence <= 0.9


@pytest.mark.parametrize("name", ["Qwen Rhapsody", "LongCat Rhapsody"])
def test_a_brand_of_several_paradigms_with_a_silent_word_asks_back(name):
    assert place(name).cell is None


def test_a_date_in_a_name_is_no_absurd_version():
    assert place("Qwen Image Edit 2511").cell is Cell.DIFFUSION


def test_the_name_of_a_maker_is_no_game():
    placed = place("MiniMax Speech 2.8 HD")
    assert placed.prior
    assert placed.cell is not Cell.ADVERSARIAL
    assert place("trained by a minimax game of two networks").cell is Cell.ADVERSARIAL


def test_how_weights_are_packed_is_no_part_of_a_name():
    for name in ("encodec 24khz", "EnCodec-GGUF", "encodec-int8"):
        assert place(name).system == "EnCodec"


@pytest.mark.parametrize("name", ["Bark diffusion", "DALL-E 4", "Muse microsoft game", "EDM molecule", "Bark of a dog"])
def test_a_word_for_another_mechanism_maker_or_field_means_another_system(name):
    assert place(name).system == ""


def test_trade_offs_follow_the_parts_of_a_known_system():
    """A replaced decoder costs nothing, starting weights do not run, and what draws no noise says so."""
    cosy = place("CosyVoice")
    assert {part.role: part.stage for part in cosy.parts}["tokenizer"] == "training"
    assert "tokenizer" not in cosy.cost_note
    assert "language model" not in place("LLaDA2").cost_note
    assert place("Real-ESRGAN").sampling == ("map the condition to an example, once, without noise", "x = G(c)")
    assert place("BigGAN").sampling is None
    assert "autoencoder" in place("Kandinsky 3").likelihood_of
    assert place("Hunyuan3D 2.0").variant == "velocity"
    assert place("CogVideoX").variant == "Gaussian noise"
