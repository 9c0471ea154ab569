"""The linear regression from which models of vectors given vectors start."""

import math

import numpy as np
import pytest
import torch

import fourfold
from fourfold.core import Noise
from fourfold.nn.regression import Regression, ridge
from fourfold.paradigms.autoregressive import VectorConditionals
from fourfold.spaces import Images, Vectors

FACTOR = torch.tensor([[0.5, 0.0], [1.5, 1.0]])
NOISE = torch.distributions.MultivariateNormal(torch.zeros(2), scale_tril=FACTOR)


@pytest.fixture(scope="module")
def linear():
    """Conditions of several units, vectors that are linear in them up to correlated normal noise, and the slopes."""
    generator, units = torch.Generator().manual_seed(0), torch.tensor([1.0, 10.0, 0.1])
    c = 5 + units * torch.randn(4000, 3, generator=generator)
    slopes = torch.randn(3, 2, generator=generator) / units[:, None]
    return c, c @ slopes + torch.randn(4000, 2, generator=generator) @ FACTOR.T, slopes


def model_of(recipe, c, x):
    model = fourfold.build(recipe, Vectors(x.shape[1], given=Vectors(c.shape[1])), size="xs")
    model.fit_statistics(x, c)
    return model.eval()


def test_ridge_is_least_squares_with_many_rows():
    generator = np.random.default_rng(0)
    c = generator.normal(size=(5000, 4))
    x = c @ generator.normal(size=(4, 3)) + generator.normal(size=(5000, 3))
    c, x = c - c.mean(0), x - x.mean(0)
    expected = np.linalg.lstsq(c, x, rcond=None)[0]
    np.testing.assert_allclose(ridge(torch.from_numpy(c), torch.from_numpy(x)), expected, atol=5e-3)


def test_ridge_adds_little_without_a_relation_and_bears_equal_columns():
    generator = torch.Generator().manual_seed(1)
    c, z = (torch.randn(60, 40, generator=generator, dtype=torch.float64) for _ in range(2))
    least_squares = torch.linalg.lstsq(c, z).solution
    assert (c @ ridge(c, z)).square().mean() < 0.3 * (c @ least_squares).square().mean()
    twice = torch.cat([c[:, :1], c[:, :1]], 1)
    torch.testing.assert_close(
        ridge(twice, 3 * c[:, :1]), torch.full((2, 1), 1.5, dtype=torch.float64), atol=1e-2, rtol=0
    )


@pytest.mark.parametrize("recipe", ["flow/maf", "flow/spline", "flow/coupling", "flow/realnvp"])
def test_a_flow_of_a_linear_relation_is_exact_before_training(recipe, linear):
    c, x, slopes = linear
    model = model_of(recipe, c, x)
    exact = NOISE.log_prob(x - c @ slopes)
    assert float((exact - model.log_prob(x, c).nats).mean()) == pytest.approx(0, abs=5e-3)
    residuals = (model.sample(4000, c, seed=1) - c @ slopes) @ torch.linalg.inv(FACTOR).T
    torch.testing.assert_close(residuals.mean(0), torch.zeros(2), atol=5 / math.sqrt(4000), rtol=0)
    torch.testing.assert_close(torch.cov(residuals.T), torch.eye(2), atol=0.1, rtol=0)


def test_an_unknown_condition_has_the_mean_and_the_scale_of_all(linear):
    c, x, _ = linear
    draws = model_of("flow/maf", c, x).sample(4000, seed=1)
    torch.testing.assert_close(draws.mean(0), x.mean(0), atol=0.2, rtol=0)
    torch.testing.assert_close(draws.std(0), x.std(0), atol=0, rtol=0.05)


def test_an_autoregressive_model_is_one_of_residuals(linear):
    c, x, _ = linear
    model = model_of("autoregressive", c, x)
    estimand = model.estimand
    bare = VectorConditionals(estimand.net, 2, estimand.components)
    z = (x - x.mean(0)) / x.std(0)
    y, log_slopes = estimand.regression.residuals(z, c)
    torch.testing.assert_close(estimand(z, c), bare(y, c) + log_slopes)
    draws, residuals = (model.sampler(part, Noise(3, 0, 64), c[:64]) for part in (estimand, bare))
    torch.testing.assert_close(draws, estimand.regression.restored(residuals, c[:64]))


def test_a_missing_number_adds_nothing():
    regression = Regression(2, 1)
    generator = torch.Generator().manual_seed(0)
    c = torch.randn(1000, 2, generator=generator)
    regression.fit((c[:, :1] + c[:, 1:]) / 2**0.5, c)
    zero = torch.zeros(1, 1)
    assert float(regression.restored(zero, torch.tensor([[1.0, math.nan]]))) == pytest.approx(0.5**0.5, abs=0.1)
    assert float(regression.restored(zero, torch.tensor([[math.nan, math.nan]]))) == 0


def test_a_flow_of_codes_has_no_regression_of_raw_images():
    model = fourfold.build("latent-flow", Images(1, 8, 8, given=Vectors(3)), size="xs")
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (64, 1, 8, 8), generator=generator, dtype=torch.uint8)
    model.fit_statistics(images, torch.randn(64, 3, generator=generator))
    assert not any(isinstance(part, Regression) for part in model.modules())
