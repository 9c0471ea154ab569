"""Going on with a text: the rules against their definitions, the draws against the distribution."""

from __future__ import annotations

import itertools

import pytest
import torch

from fourfold import build
from fourfold.spaces import Text
from fourfold.tasks.language import Shaping, generate, stream, stream_text, truncation_note


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    built = build("autoregressive", Text("abcd .", 12), size="xs").eval()
    for parameter in built.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return built


def _kept(shaping, logits):
    return torch.isfinite(shaping(logits))


def test_rules_keep_what_they_say():
    p = torch.tensor([[0.4, 0.3, 0.15, 0.1, 0.05]])
    logits = p.log()
    assert _kept(Shaping(top_k=2), logits).tolist() == [[True, True, False, False, False]]
    assert _kept(Shaping(top_p=0.7), logits).tolist() == [[True, True, False, False, False]]
    assert _kept(Shaping(top_p=0.71), logits).tolist() == [[True, True, True, False, False]]
    assert _kept(Shaping(top_p=0.01), logits).tolist() == [[True, False, False, False, False]]
    assert _kept(Shaping(min_p=0.3), logits).tolist() == [[True, True, True, False, False]]
    torch.testing.assert_close(Shaping(temperature=0.5)(logits).softmax(1), p.square() / p.square().sum())
    assert torch.equal(Shaping()(logits), logits)


def test_a_penalty_makes_what_was_said_less_likely():
    logits = torch.tensor([[2.0, -1.0, 0.5]])
    penalised = Shaping(repetition_penalty=2.0)(logits, torch.tensor([[0, 1, 0]]))
    assert penalised.tolist() == [[1.0, -2.0, 0.5]]


@pytest.mark.parametrize("shaping", [Shaping(), Shaping(top_k=3, temperature=0.7)], ids=["plain", "shaped"])
def test_draws_follow_the_shaped_distribution(model, shaping):
    first = next(stream(model, "ab c", n=4000, seed=3, shaping=shaping))
    ids = torch.cat([torch.tensor([6]), model.space.parse("ab c")])[None]
    with torch.no_grad():
        expected = shaping(model.estimand.net(ids)[:, -1])[0].softmax(0)
    seen = torch.bincount(first, minlength=6) / 4000
    assert (seen - expected).abs().max() < 5 * (0.25 / 4000) ** 0.5
    assert (seen[expected == 0] == 0).all()


def test_unshaped_text_is_what_the_sampler_draws(model):
    drawn = torch.stack(list(itertools.islice(stream(model, n=5, seed=7), 12)), 1)
    assert torch.equal(drawn, model.sample(5, seed=7))


def test_a_stop_string_ends_a_text(model):
    texts = generate(model, "ab", n=20, length=40, seed=1)
    stopped = generate(model, "ab", n=20, length=40, seed=1, stop=["a ", "d."])
    for text, short in zip(texts, stopped, strict=True):
        ends = [at for stop in ("a ", "d.") if (at := text.find(stop)) >= 0]
        assert short == (text[: min(ends)] if ends else text)


@pytest.mark.parametrize("stop", [[], ["a ", "d.", "cc"]])
def test_a_text_comes_in_parts_that_are_never_taken_back(model, stop):
    for seed in range(5):
        parts = list(stream_text(model, "ab", 30, seed, stop=stop))
        assert "".join(parts) == generate(model, "ab", n=1, length=30, seed=seed, stop=stop)[0]
        if not stop:
            assert [len(part) for part in parts] == [1] * 30 + [0]  # each character as soon as it is drawn


def test_a_character_of_several_tokens_comes_when_it_is_whole():
    torch.manual_seed(0)
    model = build("autoregressive", Text("", 12), size="xs").eval()
    with torch.no_grad():
        model.estimand.net.head.bias[torch.tensor(list("é🙂".encode()))] += 30.0
    parts = list(stream_text(model, "", 40, 1))
    assert "".join(parts) == generate(model, n=1, length=40, seed=1)[0]
    assert any(parts[:-1])
    assert not any(part == "\ufffd" for part in parts[:-1])


def test_what_rules_do_to_the_likelihood_is_said():
    assert Shaping().words == ""
    assert "does not follow the distribution" in Shaping(top_k=5).words
    for wrong in ({"temperature": 0.0}, {"top_k": 0}, {"top_p": 1.5}, {"min_p": 0.0}, {"repetition_penalty": -1.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Shaping(**wrong)


def test_what_is_not_read_of_a_long_prompt_is_said(model):
    assert truncation_note(model, "") == truncation_note(model, "abcd abc") == ""
    context = model.estimand.net.length
    prompt = "abcd. " * context
    said = truncation_note(model, prompt)
    assert said.startswith(f"the prompt has {len(prompt)} tokens, more than a context of {context}: only the last")
    (n_kept,) = {int(word) for word in said.split() if word.isdigit()} - {len(prompt), context}
    rest = prompt[-n_kept:]
    assert generate(model, prompt, length=4, seed=1) == generate(model, rest, length=4, seed=1)
