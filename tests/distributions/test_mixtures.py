"""Mixtures of Gaussians against those of torch, by both forms of their factors."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from fourfold.distributions.mixtures import NormalMixture

K, D = 4, 3


def parameters() -> tuple[Tensor, Tensor, Tensor]:
    """Log-weights, means and covariances in double precision."""
    generator = torch.Generator().manual_seed(0)
    logits, means = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((K,), (K, D)))
    roots = torch.randn(K, D, D, generator=generator, dtype=torch.float64) + 2 * torch.eye(D).double()
    return logits.log_softmax(0), means, roots @ roots.mT


def mixtures() -> dict[str, tuple[NormalMixture, MixtureSameFamily]]:
    """Each form beside the same distribution by torch."""
    log_weights, means, covariances = parameters()
    scales = covariances.diagonal(0, 1, 2).sqrt()
    weights = Categorical(logits=log_weights)
    return {
        "full": (
            NormalMixture.of_covariances(log_weights, means, covariances),
            MixtureSameFamily(weights, MultivariateNormal(means, covariances)),
        ),
        "diagonal": (
            NormalMixture(log_weights, means, 1 / scales),
            MixtureSameFamily(weights, MultivariateNormal(means, scales.square().diag_embed())),
        ),
    }


@pytest.mark.parametrize("form", ["full", "diagonal"])
def test_densities_are_those_of_torch(form: str) -> None:
    mixture, expected = mixtures()[form]
    x = 3 * torch.randn(200, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(mixture.log_prob(x), expected.log_prob(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("form", ["full", "diagonal"])
def test_a_draw_lies_at_the_noise_in_the_coordinates_of_its_component(form: str) -> None:
    mixture, _ = mixtures()[form]
    k = torch.arange(40) % K
    z = torch.randn(40, D, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    x = mixture.place(k, z)
    factors = mixture.factors if form == "full" else mixture.factors.diag_embed()
    log_det = factors.diagonal(0, 1, 2).log().sum(1)[k]
    expected = log_det - z.square().sum(1) / 2 - D / 2 * math.log(2 * math.pi)
    torch.testing.assert_close(mixture.components(x).gather(1, k[:, None])[:, 0], expected)


def test_each_example_may_have_weights_of_its_own() -> None:
    _, means, covariances = parameters()
    log_weights = torch.randn(6, K, generator=torch.Generator().manual_seed(3), dtype=torch.float64).log_softmax(1)
    x = torch.randn(6, D, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    together = NormalMixture.of_covariances(log_weights, means, covariances).log_prob(x)
    each = [
        NormalMixture.of_covariances(w, means, covariances).log_prob(row[None])[0]
        for w, row in zip(log_weights, x, strict=True)
    ]
    torch.testing.assert_close(together, torch.stack(each))


@pytest.mark.parametrize("form", ["full", "diagonal"])
def test_low_precision_around_it_changes_nothing(form: str) -> None:
    log_weights, means, covariances = (v.float() for v in parameters())
    x = torch.randn(50, D, generator=torch.Generator().manual_seed(5))

    def log_prob() -> Tensor:
        if form == "full":
            return NormalMixture.of_covariances(log_weights, means, covariances).log_prob(x)
        return NormalMixture(log_weights, means, covariances.diagonal(0, 1, 2).rsqrt()).log_prob(x)

    with torch.autocast("cpu", torch.bfloat16):
        low = log_prob()
    torch.testing.assert_close(low, log_prob())
