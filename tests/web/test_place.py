"""Texts, files and folders are placed, with the place of each quote; nothing else is read."""

import json
from pathlib import Path

import pytest
from page_client import Client

from fourfold.main import run
from paper import paper

pytest.importorskip("fourfold_atlas", reason="places need the atlas")

CARD = (
    "A U-Net is trained to predict the noise that was added to an image, with a squared error. "
    "Unlike GANs, no discriminator is needed. Samples are drawn by 50 steps of DDIM from Gaussian noise."
)


def test_a_card_is_placed_and_its_quotes_stand_where_they_say(page: Client):
    verdict = page.ask("/api/place", {"text": CARD}).json
    assert verdict["cell"] == "diffusion"
    rows = [row for row in verdict["evidence"] if row["start"] is not None]
    assert {"for", "aside"} <= {row["side"] for row in rows}
    for row in rows:
        assert CARD[row["start"] : row["end"]].split() == row["quote"].split()
    assert any(row["side"] == "aside" and "GAN" in row["quote"] for row in rows)


def test_a_dropped_folder_is_read_and_a_name_shows_its_system(page: Client):
    config = json.dumps({"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"})
    verdict = page.ask("/api/place", {"files": {"m/config.json": config, "m/README.md": "# A model"}}).json
    assert verdict["cell"] == "autoregressive"
    assert page.ask("/api/place", {"text": "Stable Diffusion"}).json["system"] == "stable-diffusion"


def test_the_page_reads_no_file_of_the_machine(page: Client, tmp_path: Path):
    secret = tmp_path / "secret.md"
    secret.write_text("A GAN: the generator fools a discriminator.")
    for text in (str(secret), "/etc/passwd", "~/.bashrc", "README.md"):
        answer = page.ask("/api/place", {"text": text})
        assert answer.status == 200
        assert answer.json["cell"] != "adversarial"
        assert "root:" not in answer.text


@pytest.mark.parametrize("path", ["../x.md", "/etc/x.md", "a/../../x", "a\\b", "a\x00b", "", "C:/x", "a/" * 30 + "x"])
def test_paths_that_lead_out_of_their_folder_are_refused(page: Client, path: str):
    answer = page.ask("/api/place", {"files": {path: "x", "ok.md": "y"}})
    assert answer.status == 400
    assert "path" in answer.json["error"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"[" * 100_000, {"text": 1}, {"files": {"a": 1}}, {"files": {}}])
def test_broken_requests_are_refused(page: Client, body: object):
    assert page.ask("/api/place", body, method="POST").status == 400


def test_the_text_of_a_pdf_is_read_and_other_content_is_refused(page: Client):
    pytest.importorskip("pypdf")
    pdf = paper("the generator fools a discriminator")
    assert "fools a discriminator" in page.ask("/api/pdf", pdf).json["text"]
    assert page.ask("/api/pdf", b"%PDF-1.4 broken").status == 400


def test_names_of_scripts_stay_text(page: Client):
    name = "<script>alert(1)</script>.md"
    answer = page.ask("/api/place", {"files": {name: "The generator fools a <b>discriminator</b>."}})
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"


def test_serve_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["serve", str(tmp_path / "none")], False) == 2
    assert "RUN must be a folder" in capsys.readouterr().err
