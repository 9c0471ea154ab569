"""The views between denoiser, noise, velocity and score, against exact densities."""

import itertools

import pytest
import torch

from fourfold import checks
from fourfold.core import configuration, construct, view
from fourfold.data.oracles import GaussianTransport, MixtureDenoiser
from fourfold.estimands import Denoiser, NoisePredictor, Score, VectorField, Velocity
from fourfold.maths.paths import EDM, VE, VP, Cosine, RectifiedFlow, SubVP

KINDS = (Denoiser, NoisePredictor, Velocity, Score)
PATHS = [EDM(), VE(), VP(), SubVP(), Cosine(), RectifiedFlow()]
each_path = pytest.mark.parametrize("path", PATHS, ids=lambda p: type(p).__name__)
MIXTURE = ((0.3, 0.7), ((-1.0, 0.0), (1.0, 0.5)), (((0.2, 0.05), (0.05, 0.3)),) * 2)


def points(path, n=40):
    generator = torch.Generator().manual_seed(0)
    t = path.t_min + (path.t_max - path.t_min) * torch.linspace(0.02, 0.98, n, dtype=torch.float64)
    x_0, eps = torch.randn(2, n, 2, generator=generator, dtype=torch.float64)
    return path.noised(x_0, eps, t), t


@each_path
def test_each_view_is_what_its_name_says(path):
    """Score by autograd of the density; noise, example and velocity by Tweedie's formula from it."""
    oracle = MixtureDenoiser(path, *MIXTURE)
    x_t, t = points(path)
    x_t.requires_grad_()
    (score,) = torch.autograd.grad(oracle.log_prob(x_t, t).sum(), x_t)
    x_t = x_t.detach()
    alpha, sigma, d_alpha, d_sigma = (f(t)[:, None] for f in (path.alpha, path.sigma, path.d_alpha, path.d_sigma))
    eps, x_0 = -sigma * score, (x_t + sigma**2 * score) / alpha
    expected = {Score: score, NoisePredictor: eps, Denoiser: x_0, Velocity: d_alpha * x_0 + d_sigma * eps}
    for source, target in itertools.permutations(KINDS, 2):
        prediction = view(view(oracle, source), target)(x_t, t)
        torch.testing.assert_close(prediction, expected[target], rtol=1e-6, atol=1e-6)


@each_path
@pytest.mark.parametrize("kind", KINDS)
def test_views_commute(path, kind):
    checks.check_views(view(MixtureDenoiser(path, *MIXTURE), kind), (2,), atol=2e-3)


@pytest.mark.parametrize("kind", [Velocity, Denoiser, NoisePredictor, Score])
def test_a_vector_field_is_a_velocity_only_where_it_says_so(kind):
    """Noise coupled with the data leads to them as well, and tells nothing of the density between."""
    field = GaussianTransport(RectifiedFlow(), (0.3, -0.2), ((1.0, 0.5), (0.5, 0.8)))
    assert view(field, VectorField) is field
    with pytest.raises(TypeError, match=f"must be a {kind.__name__} .*, got GaussianTransport"):
        view(field, kind)
    velocity = view(MixtureDenoiser(VP(), *MIXTURE), Velocity)
    assert view(velocity, VectorField) is velocity


def test_every_pair_is_one_step_apart():
    oracle = MixtureDenoiser(VP(), *MIXTURE)
    for source, target in itertools.permutations(KINDS, 2):
        seen = view(oracle, source)
        assert view(seen, target).source is seen


@pytest.mark.parametrize("kind", KINDS)
def test_ends_of_a_straight_path_are_finite(kind):
    """At sigma = 0 the noise is 0 and the velocity -x; at alpha = 0 the example is the data's mean, or 0 unknown."""
    oracle = MixtureDenoiser(RectifiedFlow(), *MIXTURE)
    source = view(oracle, kind)
    x, zero, ones = torch.randn(16, 2), torch.zeros(16), torch.ones(16)
    torch.testing.assert_close(view(source, Denoiser)(x, zero), x, atol=1e-3, rtol=0)
    torch.testing.assert_close(view(source, NoisePredictor)(x, ones), x, atol=1e-5, rtol=0)
    torch.testing.assert_close(view(source, Velocity)(x, zero), -x, atol=0.02, rtol=0)
    mean = torch.tensor([0.4, 0.35]).expand(16, 2)
    has_limit = kind in (Denoiser, Velocity)
    torch.testing.assert_close(view(source, Denoiser)(x, ones), mean * has_limit, atol=1e-3, rtol=0)


@pytest.mark.parametrize("path", [VP(), EDM(), RectifiedFlow()], ids=lambda p: type(p).__name__)
def test_single_precision_suffices_away_from_the_ends(path):
    oracle = MixtureDenoiser(path, *MIXTURE)
    x_t, t = points(path)
    for source, target in itertools.permutations(KINDS, 2):
        prediction = view(view(oracle, source), target)(x_t.float(), t.float()).double()
        exact = view(oracle, target)(x_t, t)
        assert (prediction - exact).norm() < 2e-4 * exact.norm()


def test_a_view_survives_its_configuration():
    seen = view(MixtureDenoiser(VP(), *MIXTURE), NoisePredictor)
    x_t, t = points(VP())
    torch.testing.assert_close(construct(configuration(seen))(x_t, t), seen(x_t, t))
