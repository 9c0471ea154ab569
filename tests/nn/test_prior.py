"""Priors: densities that integrate to 1, masses that sum to 1, and draws that follow them."""

import itertools
import math

import pytest
import torch

from fourfold.maths.normal import standard_log_prob
from fourfold.nn.coupling import Couplings
from fourfold.nn.prior import CodeMixture, IndependentCodes, IndependentGaussians, Mixture
from fourfold.nn.reading.labels import LabelReading


def _moved(prior):
    torch.manual_seed(0)
    for parameter in prior.parameters():
        with torch.no_grad():
            parameter += 0.3 * torch.randn_like(parameter)
    return prior


def _fitted():
    """A mixture with three labels that has seen codes."""
    torch.manual_seed(0)
    prior = CodeMixture(2, 5, LabelReading(3))
    for _ in range(30):
        cond = torch.randint(-1, 3, (40,))
        prior.log_prob(torch.randn(40, 2) * 0.4 + cond[:, None], cond)
    return prior.eval()


DENSITIES = {
    "fitted": _fitted,
    "couplings": lambda: Couplings(2, 8, 1, 2, reading=LabelReading(3)),
    "gaussians": lambda: IndependentGaussians((2,), LabelReading(3)),
    "mixture": lambda: Mixture(2, 5, LabelReading(3)),
}


@pytest.mark.parametrize("label", [None, 0, 2])
@pytest.mark.parametrize("name", DENSITIES)
def test_densities_integrate_to_one_and_draws_follow_them(name, label):
    torch.manual_seed(0)
    prior, n = _moved(DENSITIES[name]()), 100_000
    side = torch.linspace(-30, 30, 751)
    u = torch.cartesian_prod(side, side)
    cond = None if label is None else torch.full((len(u),), label)
    with torch.no_grad():
        mass = prior.log_prob(u, cond).double().exp() * 0.08**2
        draws = prior(torch.randn(n, *prior.noise), None if label is None else torch.full((n,), label))
    assert mass.sum().item() == pytest.approx(1, abs=0.01)
    for power in (1, 2):
        expected, moments = (mass[:, None] * u**power).sum(0), draws**power
        assert ((moments.mean(0) - expected).abs() < 5 * moments.std(0) / math.sqrt(n) + 2e-3).all()


def test_a_mixture_is_torchs():
    prior = _moved(Mixture(3, 4))
    m, s = prior.mean, prior.log_scale
    weights = torch.distributions.Categorical(logits=prior.logits.rows.bias)
    parts = torch.distributions.Independent(torch.distributions.Normal(m, s.exp()), 1)
    expected = torch.distributions.MixtureSameFamily(weights, parts)
    u = torch.randn(50, 3)
    torch.testing.assert_close(prior.log_prob(u), expected.log_prob(u))


def test_a_fitted_mixture_is_torchs_and_tells_labels_apart():
    prior = _fitted()
    mean, scatter = prior._moments()
    covariances = prior._covariances(scatter)
    u = torch.randn(50, 2)
    for label in (-1, 2):
        share = prior.share[0] if label < 0 else prior.share[label + 1] + 1e-3 * prior.share[0]
        parts = torch.distributions.MultivariateNormal(mean, covariances)
        expected = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(share), parts).log_prob(u)
        torch.testing.assert_close(prior.log_prob(u, torch.full((50,), label)), expected)
    near = torch.full((1, 2), 2.0)
    assert prior.log_prob(near, torch.tensor([2])) > prior.log_prob(near, torch.tensor([0])) + 1


def test_a_fitted_mixture_finds_the_mixture_of_its_codes():
    """Two clusters with covariances of their own, as well as EM on all codes does."""
    from sklearn.mixture import GaussianMixture

    torch.manual_seed(0)
    factors = torch.tensor([[[1.0, 0.0], [0.7, 0.5]], [[0.2, 0.0], [-0.5, 0.4]]])
    where = torch.randint(2, (20_000,))
    u = torch.tensor([[-2.0, 0.0], [1.0, 1.0]])[where] + (factors[where] @ torch.randn(20_000, 2, 1)).squeeze(2)
    prior = CodeMixture(2, 8).train()
    for batch in u.split(50):
        standard = prior.log_prob(batch)
        torch.testing.assert_close(standard, standard_log_prob(batch))
    reference = GaussianMixture(8, random_state=0).fit(u[:10_000])
    with torch.no_grad():
        assert prior.eval().log_prob(u).mean() > reference.score(u) - 0.05


def test_no_component_of_a_fitted_mixture_stays_behind():
    """Codes that move and spread: as many components follow as they have clusters."""
    torch.manual_seed(0)
    prior, centres = CodeMixture(8, 16).train(), 3 * torch.randn(16, 8)
    for step in range(600):
        spread = min(step / 200, 1.0)
        u = spread * centres[torch.randint(16, (64,))] + 0.3 * torch.randn(64, 8)
        prior.log_prob(u)
    assert (prior.share[0] > 0.01).sum() >= 14
    assert prior.share[0].sum().item() == pytest.approx(1, abs=1e-4)
    truth = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.ones(16)),
        torch.distributions.Independent(torch.distributions.Normal(centres, 0.3), 1),
    )
    u = truth.sample((2000,))
    with torch.no_grad():
        assert prior.eval().log_prob(u).mean() > truth.log_prob(u).mean() - 1


def test_a_fitted_mixture_leaves_the_gradient_of_a_standard_normal():
    prior, u = CodeMixture(3, 4), torch.randn(6, 3, requires_grad=True)
    (grad,) = torch.autograd.grad(prior.log_prob(u).sum(), u)
    torch.testing.assert_close(grad, -u)
    assert not list(prior.parameters())


def test_masses_of_codes_sum_to_one_and_draws_follow_them():
    prior, n = _moved(IndependentCodes((1, 2), 3, reading=LabelReading(2))), 40_000
    every = torch.tensor(list(itertools.product(range(3), repeat=2))).reshape(-1, 1, 2)
    for label in (None, 1):
        cond = None if label is None else torch.full((len(every),), label)
        masses = prior.log_prob(every, cond).exp()
        assert masses.sum().item() == pytest.approx(1, abs=1e-5)
        draws = prior(torch.randn(n, 1, 2), None if label is None else torch.full((n,), label))
        shares = (draws[:, None] == every).all(-1).all(-1).float().mean(0)
        assert ((shares - masses).abs() < 5 * (masses / n).sqrt()).all()


def test_an_untrained_prior_of_codes_is_uniform():
    codes = torch.randint(0, 7, (5, 3, 4))
    torch.testing.assert_close(IndependentCodes((3, 4), 7).log_prob(codes), torch.full((5,), -12 * math.log(7)))


def test_labels_tell_apart_and_unknown_is_a_label():
    prior = _moved(IndependentGaussians((2, 2, 2), LabelReading(3)))
    u = torch.randn(1, 2, 2, 2).expand(4, -1, -1, -1)
    values = prior.log_prob(u, torch.tensor([-1, 0, 1, 2]))
    assert len(values.unique()) == 4
    assert torch.equal(values[:1], prior.log_prob(u[:1]))


def test_couplings_density_is_that_of_their_inverse():
    prior, u = _moved(Couplings(3, 8, 1, 3)), torch.randn(6, 3)
    rows = [torch.autograd.functional.jacobian(lambda v: prior.inverse(v[None])[0][0], row) for row in u]
    log_det = torch.stack([row.det().abs().log() for row in rows])
    torch.testing.assert_close(prior.log_prob(u), standard_log_prob(prior.inverse(u)[0]) + log_det)
