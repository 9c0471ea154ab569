"""Tokenizers: what is tokenised is what is read back, and bits per byte do not depend on the tokens."""

from __future__ import annotations

import json
import math

import pytest
import tokenizers
import torch

from fourfold import load
from fourfold.core import LogProb
from fourfold.core.parts import configuration, construct
from fourfold.data import DataError
from fourfold.spaces import Text, Tokenizer
from fourfold.spaces.tokenizer import END
from fourfold.vocabulary import Kind

WORDS = "the quick brown fox jumps over the lazy dog; \tÆgir sørger 日本語 🙂\n"
TEXT = WORDS * 60


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.learn(TEXT, 300)


def test_every_text_comes_back(tokenizer: Tokenizer):
    assert tokenizer.count == 300
    for text in (TEXT, "Zürich <|end|> \x00 \r\n  ﷽", ""):  # letters and marks that it never saw, and a special token
        ids = tokenizer.ids(text)
        assert tokenizer.text(ids) == text
        assert tokenizer.sizes[ids].sum() == len(text.encode())


def test_a_long_text_is_cut_between_lines_only(tokenizer: Tokenizer):
    long = WORDS * 3000
    assert torch.equal(torch.from_numpy(tokenizer.ids(long)), torch.from_numpy(tokenizer.ids(WORDS)).repeat(3000))


def test_pieces_are_configuration(tokenizer: Tokenizer):
    space = Text("", 8, tokenizer=tokenizer)
    assert construct(json.loads(json.dumps(configuration(space)))) == space


def test_bits_per_byte_are_all_bits_over_all_bytes(tokenizer: Tokenizer):
    space = Text("", 8, tokenizer=tokenizer)
    x = space.rows(space.ids(TEXT).long())
    counts = space.byte_counts(x)
    assert counts.sum() == tokenizer.sizes[x.flatten()].sum() > 0
    nats = -torch.rand(len(x), dtype=torch.float64)
    scored = LogProb(nats, Kind.EXACT, dims=8, byte_counts=counts)
    mean, _ = scored.mean_in("bits/byte")
    assert mean == pytest.approx(-nats.sum().item() / math.log(2) / counts.sum().item())


def test_bits_per_byte_of_bytes_and_characters_agree():
    text = "naïve café\n" * 20
    by_bytes, by_characters = Text("", 13), Text("".join(sorted(set(text))), 11)
    x, y = by_bytes.rows(by_bytes.ids(text)), by_characters.rows(by_characters.ids(text))
    assert by_bytes.byte_counts(x).sum() == by_characters.byte_counts(y).sum() == len(text.encode())


def test_tokens_are_learned_from_the_training_part_alone(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text(WORDS * 400 + "zzzzqqqq" * 600, encoding="utf-8")
    data = load(path, tokens="bpe:400", length=16, fractions=(0.8, 0.1, 0.1))
    assert 256 < data.space.tokens <= 400
    assert not any("zq" in token for token in json.loads(data.space.tokenizer.file)["model"]["vocab"])


def test_a_published_tokenizer_is_taken_as_it_is(tmp_path, tokenizer: Tokenizer):
    (tmp_path / "tokenizer.json").write_text(tokenizer.file, encoding="utf-8")
    (tmp_path / "t.txt").write_text(TEXT, encoding="utf-8")
    for given in (tmp_path, tmp_path / "tokenizer.json"):
        assert load(tmp_path / "t.txt", tokens=given, length=16).space.tokenizer == tokenizer


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ("bpe:100", "tokens must be bpe:257 or more, .*got bpe:100"),
        ("words", "must be chars, bytes, bpe:COUNT"),
        ("broken.json", "tokenizer must be the content of a tokenizer.json"),
        ("other.json", "must be a tokenizer that can be read"),
    ],
)
def test_tokens_that_cannot_be_used_are_refused(tmp_path, monkeypatch, tokens, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.txt").write_text(TEXT, encoding="utf-8")
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "other.json").write_text('{"a": 1}')
    with pytest.raises(DataError, match=words):
        load("t.txt", tokens=tokens, length=16)


def test_documents_have_ends(tmp_path):
    folder = tmp_path / "texts" / "deep"
    folder.mkdir(parents=True)
    for i in range(40):
        (folder / f"{i:02}.txt").write_text(WORDS * 3, encoding="utf-8")
    lines = tmp_path / "texts.jsonl"
    lines.write_text("".join(json.dumps({"body": WORDS * 3}) + "\n" for _ in range(40)), encoding="utf-8")
    data = load(tmp_path / "texts", tokens="bpe:300", length=16)
    other = load(lines, tokens="bpe:300", length=16, text="body")
    end = data.space.tokenizer.end
    assert sum(int((part.x == end).sum()) for part in (data.train, data.validation, data.test)) == 40
    assert torch.equal(data.train.x, other.train.x)
    assert "40 documents" in data.source
    with pytest.raises(DataError, match=r"line 1: must have text under 'text', got body"):
        load(lines, length=16)


def test_a_tag_of_html_ends_no_document_where_a_special_token_does():
    library = tokenizers.Tokenizer.from_str(Tokenizer.learn(WORDS, 300).file.replace(END, "<a>"))
    library.add_tokens(["</s>"])
    assert Tokenizer(library.to_str()).end == library.token_to_id("</s>")
    library.add_special_tokens(["<eos>"])
    assert Tokenizer(library.to_str()).ends == (library.token_to_id("<eos>"),)
