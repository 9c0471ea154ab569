"""Next words: the masses of a search against the sum over every sequence of tokens."""

from __future__ import annotations

import itertools
import json
import re

import pytest
import torch
from typer.testing import CliRunner

from fourfold import build, fit
from fourfold.baselines import KneserNey
from fourfold.cli.app import app
from fourfold.spaces import Text, Tokenizer
from fourfold_published.words import Completer, keystrokes, words_of

OVERLAPPING = ("a", "b", "ab", "ba", " ", "a.", ".", " a")
"""Tokens of which "ab" can be made in three ways."""


def _model(space):
    torch.manual_seed(0)
    model = build("autoregressive", space, size="xs").eval()
    for parameter in model.parameters():
        parameter.data += 0.15 * torch.randn_like(parameter)
    return model


def _overlapping():
    vocabulary = {token: i for i, token in enumerate(OVERLAPPING)}
    return Tokenizer(json.dumps({"version": "1.0", "model": {"type": "BPE", "vocab": vocabulary, "merges": []}}))


@torch.no_grad()
def _masses(model, tokens, before, word, length):
    """Masses of the words that end with one of the first ``length`` tokens after a text, by going through all."""
    ids, net = model.space.parse(before).tolist(), model.estimand.net
    sums = {}
    for n in range(1, length + 1):
        every = torch.tensor(list(itertools.product(range(len(tokens)), repeat=n)))
        start = torch.tensor([net.tokens, *ids]).expand(len(every), -1)
        log_p = net(torch.cat([start, every], 1))[:, len(ids) : -1].double().log_softmax(-1)
        mass = log_p.gather(2, every[..., None]).sum((1, 2)).exp().tolist()
        for row, m in zip(every.tolist(), mass, strict=True):
            texts = ["".join(tokens[i] for i in part) for part in (row, row[:-1])]
            matches, earlier = (re.match(word + "([^ab])", text) for text in texts)
            if matches and not earlier:
                sums[matches[1].encode()] = sums.get(matches[1].encode(), 0.0) + m
    return sums


@pytest.mark.parametrize(
    ("typed", "word", "letters"), [("", " *([ab]+)", 1), ("a", "(a[ab]*)", 4), ("ab", "(ab[ab]*)", 4)]
)
def test_words_of_characters(typed, word, letters):
    model = _model(Text("ab .", 16))
    expected = _masses(model, "ab .", "b a. ", word, 5)
    masses = Completer(model, beams=10_000, tolerance=0.0).masses("b a. " + typed)
    checked = [w for w in expected if len(w) <= letters]
    assert len(checked) >= 2
    for w in checked:  # without letters, blanks may come first, as many as there are tokens to write
        assert masses[w] == pytest.approx(expected[w], rel=1e-5 if typed else 0.1)


def test_a_word_has_the_mass_of_all_its_tokenisations():
    model = _model(Text("", 16, tokenizer=_overlapping()))
    expected = _masses(model, OVERLAPPING, "b", " (ab[ab]*)", 5)
    masses = Completer(model, beams=100_000, tolerance=0.0).masses("b ab")
    checked = [w for w in expected if len(w) <= 3]
    assert len(checked) == 3
    for w in checked:
        assert masses[w] == pytest.approx(expected[w], rel=1e-5)


def test_few_beams_find_the_likeliest_words():
    model = _model(Text("ab .", 32))
    exact = Completer(model, beams=10_000, tolerance=0.0).masses("b a. a")
    suggestions = Completer(model, beams=6).suggest("b a. a")
    best = sorted(exact, key=exact.get, reverse=True)[:3]
    assert [word.encode() for word, _ in suggestions] == best


def test_writing_on_gives_what_a_new_keyboard_gives():
    model = _model(Text("ab .", 32))
    keyboard = Completer(model)
    for end in range(1, 40):
        text = "ab a. bab aab b. ab a bb aab b. ab. a b"[:end]
        fresh = Completer(model).suggest(text)
        assert [(w, pytest.approx(p, rel=1e-4)) for w, p in keyboard.suggest(text)] == fresh


@pytest.mark.parametrize("end", [100, 255, 256, 300, 511, 512, 513, 1000])
@pytest.mark.parametrize("words", ["ab a. bab aab b. abba ", "ab"])
def test_the_context_is_the_end_of_a_long_text(words, end):
    """With blanks, and with one alone near the end, which must not cut the context short."""
    space = Text(length=16, tokenizer=_overlapping())
    keyboard = Completer(_model(space), tolerance=1e9)
    text = (words * 500)[:end].rstrip() + " ."
    keyboard.suggest(text)
    ids = keyboard._context.ids
    assert 3 <= len(ids) <= 7  # half of the context that leaves room for a word, up to all of it
    assert ids == space.parse(text).tolist()[-len(ids) :]
    assert len(keyboard._recent(text)) <= 2 * 8 * 16


def test_keystrokes_are_counted_as_a_hand_does():
    text = "we saw the sea and the sun"
    offers = {"we saw ": ["the"], "we saw the s": ["sun", "sea"]}
    saved = keystrokes(lambda written: offers.get(written, []), text)
    assert [word for _, word in words_of(text)] == ["saw", "the", "sea", "and", "the", "sun"]
    # six words of 3 letters and a space make 24; "the" is offered at once (1), "sea" after one letter (2)
    assert saved.words == 6
    assert saved.saved == pytest.approx((3 + 2) / 24)
    assert saved.top3 == pytest.approx(1 / 6)
    offers = {"we saw ": ["a", "the"], "we ": ["saw"]}
    saved = keystrokes(lambda written: offers.get(written, []), text)
    assert (saved.top1, saved.top3) == (pytest.approx(1 / 6), pytest.approx(2 / 6))


def test_counted_n_grams_suggest_too():
    text = "the cat sat. the cat ate. the cow ran. a hen sat. " * 40
    space = Text("".join(sorted(set(text))), 32)
    keyboard = Completer(KneserNey.fit(space, space.ids(text)))
    assert [word for word, _ in keyboard.suggest("sat. the c", 2)] == ["cat", "cow"]
    (first, mass), *_ = keyboard.suggest("sat. the ", 1)
    assert first == "cat"
    assert mass == pytest.approx(2 / 3, abs=0.05)


def test_a_whole_word_at_the_end_is_followed_by_the_next_one():
    text = "the cat sat. the cat ate. the cow ran. a hen sat. cowboys ran. " * 40
    space = Text("".join(sorted(set(text))), 32)
    keyboard = Completer(KneserNey.fit(space, space.ids(text)))
    words = keyboard.following("sat. the cat", 2)
    assert words == keyboard.suggest("sat. the cat ", 2)
    assert {word for word, _ in words} == {"sat", "ate"}
    assert keyboard.following("sat. the c", 2) == keyboard.suggest("sat. the c", 2)  # no word yet
    assert keyboard.following("sat. cow", 1) == keyboard.suggest("sat. cow", 1)  # rarely a whole word here
    assert keyboard.following("sat. cow", 1)[0][0] == "cowboys"


def test_a_file_that_is_no_text_is_refused_in_one_line(tmp_path):
    (tmp_path / "t.txt").write_text("the cat sat on the mat. " * 300)
    fit("autoregressive", tmp_path / "t.txt", budget="1 step", size="xs", out=tmp_path / "run")
    (tmp_path / "image.txt").write_bytes(b"\x89PNG\r\n\x1a\n" * 50)
    result = CliRunner().invoke(app, ["complete", str(tmp_path / "run"), "--measure", str(tmp_path / "image.txt")])
    assert isinstance(result.exception, ValueError)
    assert "line 1, byte 0: must be UTF-8" in str(result.exception)


def test_the_command_suggests_words_and_measures_what_they_save(tmp_path):
    (tmp_path / "t.txt").write_text("the cat sat on the mat. the dog sat on the cat.\n" * 300)
    options = {"tokens": "bpe:280", "length": 32}
    fit("autoregressive", tmp_path / "t.txt", data_options=options, size="xs", budget="30 steps", out=tmp_path / "run")
    words = CliRunner().invoke(app, ["complete", str(tmp_path / "run"), "the c", "--json"])
    assert json.loads(words.stdout)[0][0].startswith("c")
    measured = ["--measure", str(tmp_path / "t.txt"), "--words", "10", "--json"]
    saved = CliRunner().invoke(app, ["complete", str(tmp_path / "run"), *measured])
    assert 0 < json.loads(saved.stdout)["saved"] < 1


@pytest.mark.parametrize("vocabulary", ["ab .", ""])
def test_a_letter_more_costs_one_evaluation(vocabulary):
    keyboard = Completer(_model(Text(vocabulary, 32)), tolerance=1e9)  # a search of one step
    fed, net = [], keyboard._net

    class Counting(torch.nn.Module):
        tokens, length, cache = net.tokens, net.length, net.cache

        def forward(self, ids, cache):
            fed.append(ids.shape[1])
            return net(ids, cache)

    keyboard._net = Counting()
    for end in range(7, 11):
        keyboard.suggest("ab. b abab"[:end])
    assert fed == [7, 1, 1, 1, 1]  # the start symbol and "ab. b ", then a letter each


def test_letters_that_no_word_has_are_answered_by_none():
    keyboard = Completer(_model(Text("ab .", 16)))
    assert keyboard.suggest("ab é") == []
    assert keyboard.suggest("b " + 30 * "a") == []
