"""Quantisers against brute force; gradients that pass straight through; dead vectors that come back."""

import math

import pytest
import torch

from fourfold.nn.quantise import Codebook, FiniteScalars, perplexity


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("levels", [(2,), (3, 4), (8, 5, 5, 5), (8, 6, 5)])
def test_every_code_of_finite_scalars_is_reached_and_embedded_as_itself(levels):
    q = FiniteScalars(levels)
    codes = torch.arange(q.size)[:, None, None]
    values = q.embed(codes)
    assert len(values.flatten(1).unique(dim=0)) == math.prod(levels)
    half = torch.tensor([(level - 1) / 2 * 1.001 for level in levels])[:, None, None]
    offset = torch.tensor([0.5 * (level % 2 == 0) for level in levels])[:, None, None]
    steps = values * torch.tensor([level // 2 for level in levels])[:, None, None]
    reached = ((steps + offset) / half).clamp(-1 + 1e-6, 1 - 1e-6)
    quantised = q(torch.atanh(reached) - torch.atanh(offset / half))
    assert torch.equal(quantised.codes, codes)
    torch.testing.assert_close(quantised.values, values)


def test_finite_scalars_keep_zero_and_their_levels_are_even():
    q = FiniteScalars((5, 4))
    assert torch.equal(q(torch.zeros(1, 2, 1, 1)).values.flatten(), torch.zeros(2))
    values = q(torch.linspace(-9, 9, 999)[:, None, None, None].expand(-1, 2, -1, -1)).values
    assert values[:, 0].unique().tolist() == [-1, -0.5, 0, 0.5, 1]
    assert values[:, 1].unique().tolist() == [-1, -0.5, 0, 0.5]


def test_finite_scalars_pass_the_gradient_of_the_squashing_function():
    q, e = FiniteScalars((5, 4)), torch.randn(3, 2, 2, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(q(e).values.sum(), e)
    half = torch.tensor([2, 1.5])[:, None, None] * 1.001
    shift = torch.tensor([0, math.atanh(0.5 / (1.5 * 1.001))])[:, None, None]
    expected = half * (1 - torch.tanh(e + shift).square()) / 2
    torch.testing.assert_close(gradient, expected)


def test_a_codebook_takes_the_nearest_vector():
    q, e = Codebook(7, 3).eval(), torch.randn(2, 3, 4, 5)
    rows = e.movedim(1, -1).reshape(-1, 3)
    distance = (rows[:, None] - q.embedding.weight).square().sum(2)
    quantised = q(e)
    assert torch.equal(quantised.codes.flatten(), distance.argmin(1))
    torch.testing.assert_close(quantised.values, q.embed(quantised.codes))
    torch.testing.assert_close(quantised.penalty.sum(), q.weight * 1.25 * distance.min(1).values.sum() / 3)


def test_a_codebooks_gradients_are_the_papers():
    q, e = Codebook(5, 2, commitment=0.3, weight=1.0).eval(), torch.randn(2, 2, 3, 3, requires_grad=True)
    quantised = q(e)
    (through,) = torch.autograd.grad(quantised.values.sum(), e, retain_graph=True)
    assert torch.equal(through, torch.ones_like(e))
    d_e, d_v = torch.autograd.grad(quantised.penalty.sum(), [e, q.embedding.weight])
    difference = (e - quantised.values).detach()
    torch.testing.assert_close(d_e, 0.3 * difference)
    sums = torch.zeros(5, 2).index_add(0, quantised.codes.flatten(), -difference.movedim(1, -1).reshape(-1, 2))
    torch.testing.assert_close(d_v, sums)


def test_dead_vectors_are_drawn_to_the_inputs_until_they_are_used():
    q = Codebook(16, 2)
    with torch.no_grad():
        q.embedding.weight[1:] += 30
    optimizer = torch.optim.Adam(q.parameters(), 1.0)
    e = 3 * torch.randn(64, 2, 4, 4)
    before = perplexity(q(e).codes, 16)
    for _ in range(120):
        optimizer.zero_grad()
        q(e).penalty.mean().backward()
        optimizer.step()
    assert before < 1.1
    assert perplexity(q(e).codes, 16) > 12


def test_evaluation_leaves_the_usage_alone():
    q = Codebook(4, 2).eval()
    before = q.usage.clone()
    q(torch.randn(3, 2, 2, 2))
    assert torch.equal(q.usage, before)


def test_perplexity_counts():
    assert perplexity(torch.tensor([[0, 1], [2, 3]]), 9) == pytest.approx(4)
    assert perplexity(torch.tensor([5, 5]), 9) == pytest.approx(1)


def test_refusals():
    with pytest.raises(ValueError, match="at least 2"):
        FiniteScalars((3, 1))
    with pytest.raises(ValueError, match="at least 2"):
        Codebook(1, 3)
