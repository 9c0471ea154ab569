"""Mixtures of Gaussians beside a network of vectors: densities, rows left out, draws."""

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

import fourfold
from fourfold.baselines import MixedGaussians, ProductMixture
from fourfold.baselines.frame import frame_of
from fourfold.maths.normal import log_phi
from fourfold.nn.token_mixture import FOLDS
from fourfold.nn.vector_mixtures import MOST, NETWORK, VectorMixtures, _fold
from fourfold.spaces import Vectors
from fourfold.vocabulary import TooManyColumns

ROOTS = torch.tensor([[[1.0, 0, 0], [0.8, 0.3, 0], [-0.2, 0.5, 0.7]], [[0.4, 0, 0], [0, 0.6, 0], [0.1, 0, 0.2]]])
TRUTH = MixtureSameFamily(
    Categorical(torch.tensor([0.7, 0.3])),
    MultivariateNormal(torch.tensor([[0.0, 1, 2], [3, -1, 0]]), scale_tril=ROOTS),
)


def nats_of(mixtures, x):
    """``log p_m(x)`` of each mixture, the product of its conditionals, ``(2, B)``."""
    _, (log_weight, mean, log_scale) = mixtures(x)
    shares = mixtures.shares.log_softmax(1)[:, 1:].repeat_interleave(MOST, 1)
    nats = log_weight - shares + log_phi((x.unsqueeze(2) - mean) * (-log_scale).exp()) - log_scale
    return nats.unflatten(2, (2, MOST)).logsumexp(3).sum(1).T


@pytest.fixture
def rows():
    torch.manual_seed(0)
    return TRUTH.sample((600,))


def test_conditionals_multiply_to_the_density_of_a_mixture(rows):
    mixtures = VectorMixtures(3).eval()
    parts = TRUTH.component_distribution
    mixtures.log_weight[FOLDS, 0, :2] = TRUTH.mixture_distribution.logits
    mixtures.mean[FOLDS, 0, :2], mixtures.whitening[FOLDS, 0, :2] = parts.loc, torch.linalg.inv(ROOTS)
    torch.testing.assert_close(nats_of(mixtures, rows)[0], TRUTH.log_prob(rows), atol=1e-4, rtol=1e-5)
    whole, (_, leading) = mixtures(rows)[1], mixtures(rows[:, :2])
    for part, other in zip(whole, leading, strict=True):  # later values change nothing
        torch.testing.assert_close(part[:, :2], other)


def test_rows_are_predicted_by_components_that_were_fitted_without_them(rows):
    mixtures, fold = VectorMixtures(3), _fold(rows)
    mixtures.fit(rows)
    frame = frame_of(Vectors(3), rows)
    parts = frame.parts(rows)
    left_out, by_all = nats_of(mixtures.train(), rows), nats_of(mixtures.eval(), rows)
    for m, kind in enumerate((MixedGaussians, ProductMixture)):
        fits = kind.folded(frame, parts, fold, FOLDS)
        nats = torch.stack([fit.log_joint(parts).logsumexp(1) for fit in fits]).float()
        torch.testing.assert_close(by_all[m], nats[FOLDS], atol=1e-3, rtol=1e-4)
        torch.testing.assert_close(left_out[m], nats[fold, torch.arange(len(rows))], atol=1e-3, rtol=1e-4)


def test_shares_are_those_of_the_mixture_that_predicts_better(rows):
    mixtures = VectorMixtures(3)
    mixtures.fit(rows)
    shares = mixtures.shares.detach().softmax(1)
    torch.testing.assert_close(shares[:, 0], torch.full((3,), NETWORK))
    assert float(shares[1, 1]) > 0.8  # the second value depends on the first: 0.8 in the first component


def test_a_model_begins_as_good_as_its_mixtures_and_draws_what_it_scores(rows):
    model = fourfold.build("autoregressive/gaussians", Vectors(2), size="xs")
    model.fit_statistics(rows[:, :2])
    model.eval()
    torch.manual_seed(1)
    others = TRUTH.sample((1000,))[:, :2]
    baseline = MixedGaussians.fit(Vectors(2), rows[:, :2]).log_prob(others).nats.mean()
    assert float(model.log_prob(others).nats.mean()) > float(baseline) - 0.1
    axis = torch.linspace(-6, 6, 301)
    grid = model.log_prob(torch.cartesian_prod(axis, axis)).nats.double()
    cell = 0.04**2
    assert float(grid.exp().sum() * cell) == pytest.approx(1, abs=2e-3)
    own = model.log_prob(model.sample(2000, seed=0)).nats.double()
    negative_entropy = float((grid.exp() * grid).sum() * cell)
    assert float(own.mean()) == pytest.approx(negative_entropy, abs=4 * float(own.std()) / len(own) ** 0.5)


def test_few_vectors_have_mixtures_and_those_that_mixtures_do_not_model_a_network_alone():
    assert fourfold.build("autoregressive", Vectors(2, observed=2000), size="xs").estimand.mixtures is not None
    others = Vectors(2, observed=50, given=Vectors(1)), Vectors(129, observed=50), Vectors(2, observed=2001), Vectors(2)
    for space in others:
        assert fourfold.build("autoregressive", space, size="xs").estimand.mixtures is None
    with pytest.raises(TypeError, match="without a condition"):
        fourfold.build("autoregressive/gaussians", Vectors(2, given=Vectors(1)), size="xs")
    with pytest.raises(TooManyColumns, match="129 columns"):
        fourfold.build("autoregressive/gaussians", Vectors(129), size="xs")
