"""A draft changes how often the large model is asked, and never what is drawn."""

from __future__ import annotations

import itertools

import pytest
import torch
from scipy.stats import chisquare
from typer.testing import CliRunner

from fourfold import fit
from fourfold.cli.app import app
from fourfold.codecs import TextTokens
from fourfold.core import GenerativeModel, Training
from fourfold.nn.transformer import TokenTransformer
from fourfold.paradigms.autoregressive import Ancestral, ChainRule, MaximumLikelihood, TokenConditionals
from fourfold.spaces import Text
from fourfold.tasks.language import Shaping
from fourfold_published.speculation import Draft, generate, residual, speculate


def _model(space, seed, context):
    torch.manual_seed(seed)
    net = TokenTransformer(space.tokens, context, 8, 1, 2)
    for parameter in net.parameters():
        parameter.data += 0.4 * torch.randn_like(parameter)
    estimand = TokenConditionals(net, space.length)
    parts = (space, TextTokens(space), estimand, MaximumLikelihood(), Ancestral(), ChainRule(), Training())
    return GenerativeModel(*parts).eval()


def _next(model, past):
    """Logits of the next token, up to a constant beyond the window."""
    if past.shape[1] < model.estimand.net.length:
        start = torch.full((len(past), 1), model.space.tokens)
        return model.estimand.net(torch.cat([start, past], 1))[:, -1]
    both = [torch.cat([past, torch.full((len(past), 1), v)], 1) for v in range(2)]
    return torch.stack([model.estimand(x)[:, -1] for x in both], 1)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_kept_and_what_replaces_it_add_up_to_the_large_model_s_masses(seed):
    torch.manual_seed(seed)
    p, q = (3 * torch.randn(2, 7).double()).softmax(1)
    accepted = torch.minimum(p, q)
    torch.testing.assert_close(accepted + (1 - accepted.sum()) * residual(p, q), p)
    torch.testing.assert_close(residual(p, p), p)  # where rounding alone refused a token


@pytest.mark.parametrize(
    ("contexts", "length", "shaping"),
    [((4, 3), 5, None), ((8, 3), 5, Shaping(2.0, temperature=0.6, top_p=0.9))],
    ids=["beyond both windows", "shaped"],
)
def test_texts_have_the_distribution_of_the_large_model(contexts, length, shaping):
    space = Text("ab", length)
    large, small = _model(space, 0, contexts[0]), _model(space, 1, contexts[1])
    draft, rules = Draft(small, ahead=3), shaping or Shaping()
    every = torch.tensor(list(itertools.product(range(2), repeat=length)))
    with torch.no_grad():
        log_p = torch.zeros(len(every))
        for i in range(length):
            logits = _next(large, every[:, :i])
            log_p += rules(logits, every[:, :i]).log_softmax(1).gather(1, every[:, i : i + 1])[:, 0]
    n = 400
    frequencies = torch.zeros(len(every))
    for i in range(n):
        ids = list(itertools.islice(speculate(large, draft, index=i, shaping=shaping), length))
        frequencies[sum(token << (length - 1 - place) for place, token in enumerate(ids))] += 1
    expected = n * log_p.exp()
    assert expected.sum() == pytest.approx(n, rel=1e-4)
    assert (frequencies[expected == 0] == 0).all()
    often = expected > 5
    observed = torch.cat([frequencies[often], frequencies[~often].sum()[None]])
    wanted = torch.cat([expected[often], expected[~often].sum()[None]])
    there = wanted > 0
    assert chisquare(observed[there].numpy(), (wanted * n / wanted.sum())[there].numpy()).pvalue > 1e-3
    assert 0 < draft.accepted < draft.proposed
    assert draft.evaluations < draft.tokens


def test_a_draft_that_is_the_model_is_always_accepted():
    space = Text("abc", 32)
    model = _model(space, 0, 32)
    draft = Draft(model, ahead=4)
    (text,) = generate(model, draft, "ab", length=25, seed=1)
    assert len(text) == 25
    assert draft.accepted == draft.proposed > 0
    assert draft.tokens / draft.evaluations > 4.0
    assert "100% of the drafted tokens accepted" in str(draft)


def test_a_stop_string_ends_a_text_with_a_draft():
    model, draft = _model(Text("abc", 16), 0, 16), Draft(_model(Text("abc", 16), 1, 16))
    texts = generate(model, draft, "ab", n=10, length=30, seed=1)
    shorter = generate(model, draft, "ab", n=10, length=30, seed=1, stop=["ca", "bb"])
    for text, short in zip(texts, shorter, strict=True):
        ends = [at for stop in ("ca", "bb") if (at := text.find(stop)) >= 0]
        assert short == (text[: min(ends)] if ends else text)


def test_several_positions_after_a_cache_give_the_logits_of_a_whole_evaluation():
    net = _model(Text("abc", 16), 0, 16).estimand.net
    ids = torch.randint(3, (2, 14))
    with torch.no_grad():
        whole = net(ids)
        cache = net.cache(2)
        parts = [net(ids[:, :5], cache), net(ids[:, 5:9].flip(1), cache)[:, :0]]
        cache.forget(4)
        parts += [net(ids[:, 5:9], cache), net(ids[:, 9:10], cache), net(ids[:, 10:], cache)]
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=1e-5)


def test_a_draft_in_other_tokens_is_refused():
    large = _model(Text("ab", 8), 0, 8)
    with pytest.raises(ValueError, match=r"text over 2 characters.*got one of text over 3 characters.*in its tokens"):
        generate(large, Draft(_model(Text("abc", 8), 0, 8)))
    with pytest.raises(ValueError, match="ahead must be at least 1"):
        Draft(large, ahead=0)


def test_the_command_says_what_the_draft_saved(tmp_path):
    (tmp_path / "t.txt").write_text("the cat sat on the mat. " * 200)
    for name, seed in (("large", 0), ("small", 1)):
        options = {"length": 16}
        fit(
            "autoregressive",
            tmp_path / "t.txt",
            budget="2 steps",
            size="xs",
            seed=seed,
            data_options=options,
            out=tmp_path / name,
        )
    arguments = ["speculate", str(tmp_path / "large"), str(tmp_path / "small"), "--given", "the", "-n", "2"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "of the drafted tokens accepted" in result.stderr
    assert result.stdout.startswith("the")
