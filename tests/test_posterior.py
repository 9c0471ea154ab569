"""Posteriors of conditions by Bayes' rule: against the exact one of a linear Gaussian model, and of classes."""

import pytest
import torch
from torch import nn

from fourfold.core import GenerativeModel
from fourfold.engine import Run
from fourfold.estimands import Bijection
from fourfold.paradigms import build
from fourfold.spaces import Categories, Vectors
from fourfold.tasks import class_probabilities, posterior
from fourfold.vocabulary import Kind

A = torch.tensor([[1.0, 0.5], [-0.3, 0.8], [0.4, 0.0]])
NOISE = 0.6


class Linear(Bijection):
    """``x = A c + s z``, so that ``p(x | c) = N(A c, s^2 I)``."""

    reads_condition = True

    def __init__(self) -> None:
        super().__init__()
        self.event = self.latent = (3,)
        self.net = nn.Identity()

    def forward(self, z, cond=None):
        return self.net(NOISE * z + cond @ A.T)

    def inverse(self, x, cond=None):
        return self.net(x - cond @ A.T) / NOISE, torch.full((len(x),), -3 * torch.tensor(NOISE).log().item())


def linear():
    parts = build("flow", Vectors(3, given=Vectors(2)), "xs").arguments()
    return GenerativeModel(**parts | {"estimand": Linear()}).eval()


def test_the_posterior_of_a_linear_gaussian_model_is_the_exact_one():
    model, generator = linear(), torch.Generator().manual_seed(0)
    prior = torch.randn(20_000, 2, generator=generator)
    c = torch.tensor([[0.5, -1.0], [1.2, 0.3]])
    x = model.sample(2, c, seed=3)
    draws = posterior(model, x, 4000, prior, seed=1)
    assert draws.kind is Kind.EXACT
    assert "exact ratios" in draws.note
    covariance = torch.linalg.inv(torch.eye(2) + A.T @ A / NOISE**2).double()
    for i in range(2):
        mean, w = covariance @ (A.T @ x[i] / NOISE**2).double(), draws.weights[i]
        error = 4 * (covariance.diag() / draws.effective[i]).sqrt()
        weighted = (w[:, None] * draws.candidates).sum(0)
        assert ((weighted - mean).abs() < error).all()
        deviation = draws.candidates.double() - mean
        spread = (w[:, None, None] * deviation[:, :, None] * deviation[:, None]).sum(0)
        assert ((spread - covariance).abs() < 6 * covariance.diag().max() / draws.effective[i].sqrt()).all()
        assert ((draws.draws[i].double().mean(0) - weighted).abs() < 0.02).all()
        torch.testing.assert_close(draws.draws[i].double().var(0), spread.diag(), rtol=0.05, atol=0)
    assert draws.draws.shape == (2, 4000, 2)
    assert 200 < float(draws.effective.min()) < 20_000
    assert torch.equal(draws.draws, posterior(model, x, 4000, prior, seed=1).draws)


def test_the_posterior_of_classes_is_that_of_the_sum_over_classes():
    torch.manual_seed(0)
    model = build("autoregressive", Vectors(2, given=Categories.numbered(3)), "xs").eval()
    for p in model.parameters():
        p.data.add_(0.2 * torch.randn_like(p))
    x = torch.randn(5, 2)
    draws, p = posterior(model, x, 1000), class_probabilities(model, x)
    torch.testing.assert_close(draws.weights, p, atol=1e-6, rtol=1e-5)
    shares = torch.stack([(draws.draws == c).double().mean(1) for c in range(3)], 1)
    assert (shares - p).abs().max() <= 2e-3
    prior = [0, 1, 1, 1, 2]
    shares = torch.stack([(posterior(model, x, 1000, prior).draws == c).double().mean(1) for c in range(3)], 1)
    assert (shares - class_probabilities(model, x, torch.tensor([0.2, 0.6, 0.2]))).abs().max() <= 2e-3


def test_what_the_posterior_needs():
    x = torch.zeros(1, 3)
    with pytest.raises(ValueError, match="prior must be draws of the condition"):
        posterior(linear(), x, 5)
    with pytest.raises(ValueError, match="must have a likelihood"):
        posterior(build("adversarial", Vectors(3, given=Vectors(2)), "xs").eval(), x, 5, torch.zeros(4, 2))
    with pytest.raises(ValueError, match="unconditional"):
        Run(build("flow", Vectors(3), "xs").eval()).posterior(x)
    bounds = build("latent-variable", Vectors(3, given=Vectors(2)), "xs").eval()
    assert "ratios of bounds" in posterior(bounds, x, 5, torch.randn(8, 2)).note
    assert "fewer than 30 effective" in posterior(linear(), x, 5, torch.randn(8, 2)).note
