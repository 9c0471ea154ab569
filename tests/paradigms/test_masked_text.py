"""Masked diffusion of text: what it draws, fills in and bounds, against sums over every text."""

from __future__ import annotations

import itertools

import pytest
import torch

from fourfold import build, fit
from fourfold.core import Noise
from fourfold.paradigms.masked import MaskedBound, Unmasking
from fourfold.spaces import Text
from fourfold.tasks.completing import complete
from fourfold.tasks.language import fill, generate

SPACE = Text("abc", 3)
EVERY = torch.tensor(list(itertools.product(range(3), repeat=3)))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    built = build("diffusion/masked", SPACE, size="xs").eval()
    for parameter in built.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return built


@torch.no_grad()
def _by_order(model, order, x, context=()):
    """``log p(x_rest | x_known)`` in one order, by the network alone."""
    total = torch.zeros(len(x), dtype=torch.float64)
    seen = torch.zeros(x.shape, dtype=torch.bool)
    seen[:, list(context)] = True
    for i in order:
        ids = x.masked_fill(~seen, SPACE.tokens)
        total += model.estimand.net(ids).log_softmax(-1)[:, i].gather(1, x[:, i : i + 1]).squeeze(1)
        seen[:, i] = True
    return total


def test_a_mask_hides_a_token(model):
    observed_mask = torch.tensor([[True, False, True]]).expand(3, -1)
    x = torch.tensor([[0, 0, 2], [0, 1, 2], [0, 2, 2]])
    log_p = model.estimand.conditional(x, observed_mask, 1)
    torch.testing.assert_close(log_p, log_p[:1].expand(3, -1))
    torch.testing.assert_close(log_p[0].exp().sum(), torch.tensor(1.0))
    torch.testing.assert_close(model.estimand(x, observed_mask)[:, 1], log_p[0])


@pytest.mark.agreement
def test_samples_are_of_the_mixture_over_orders(model):
    orders = list(itertools.permutations(range(3)))
    p = torch.stack([_by_order(model, order, EVERY).exp() for order in orders]).mean(0)
    x = Unmasking()(model.estimand, Noise(1, 0, 40_000))
    seen = torch.bincount((x * torch.tensor([9, 3, 1])).sum(1), minlength=27) / len(x)
    assert (seen - p).abs().max() < 5 * (0.25 / len(x)) ** 0.5


@pytest.mark.agreement
@pytest.mark.parametrize(("block", "orders"), [(2, [(0, 1, 2), (1, 0, 2)]), (1, [(0, 1, 2)])])
def test_blocks_are_drawn_from_left_to_right(model, block, orders):
    p = torch.stack([_by_order(model, order, EVERY).exp() for order in orders]).mean(0)
    sampler = Unmasking(block=block)
    x = sampler(model.estimand, Noise(1, 0, 40_000))
    seen = torch.bincount((x * torch.tensor([9, 3, 1])).sum(1), minlength=27) / len(x)
    assert (seen - p).abs().max() < 5 * (0.25 / len(x)) ** 0.5
    assert not sampler.faithful
    assert f"in blocks of {block}" in sampler.summary


def test_the_bound_is_the_mean_over_orders_and_below_the_mass(model):
    orders = list(itertools.permutations(range(3)))
    each = torch.stack([_by_order(model, order, EVERY) for order in orders])
    tight = model.with_parts(likelihood=MaskedBound(draws=600))
    scored = tight.log_prob(EVERY)
    error = scored.std_error.double()
    assert ((scored.nats - each.mean(0)).abs() < 5 * error).all()
    assert (each.mean(0) <= each.exp().mean(0).log() + 1e-9).all()
    assert scored.kind == "lower_bound"


def test_what_is_missing_is_filled_in_given_the_rest(model):
    observed_mask = torch.tensor([[True, False, True]]).expand(30_000, -1)
    x = torch.tensor([[2, 0, 1]]).expand(30_000, -1)
    filled = complete(model, x, observed_mask, seed=2)
    assert (filled[:, [0, 2]] == torch.tensor([2, 1])).all()
    choices = torch.tensor([[2, k, 1] for k in range(3)])
    p = _by_order(model, [1], choices, context=(0, 2)).exp()
    seen = torch.bincount(filled[:, 1], minlength=3) / len(filled)
    assert (seen - p).abs().max() < 5 * (0.25 / len(filled)) ** 0.5


def test_training_finds_the_order_of_letters(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("abc" * 2000)
    options = {"length": 12}
    run = fit("diffusion/masked", path, size="xs", budget="80 steps", precision="float32", data_options=options)
    x = run.model.space.rows(run.dataset().test.x.long())
    assert run.log_prob(x).nats_per_token.mean() < 0.5  # letters drawn alike cost log 3 = 1.1


def test_gaps_are_filled_and_the_rest_stays(tmp_path):
    torch.manual_seed(0)
    model = build("diffusion/masked", Text("abc ", 20), size="xs").eval()
    texts = fill(model, "ab{3}ca{2}b", n=5, seed=1)
    assert all(len(t) == 10 and t[:2] == "ab" and t[5:7] == "ca" and t[9] == "b" for t in texts)
    assert len(set(texts)) > 1
    assert all(len(t) == 7 for t in generate(model, "abc", n=3, length=7))
    for wrong, words in (("abc", "must have a gap"), ("a{30}", "at most 20 tokens.* got 31")):
        with pytest.raises(ValueError, match=words):
            fill(model, wrong)
    with pytest.raises(TypeError, match="masked diffusion"):
        fill(build("autoregressive", Text("abc", 8), size="xs"), "a{2}")
