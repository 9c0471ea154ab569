"""Samplers against exact denoisers: their order, their law, and the clean last step."""

import math
from dataclasses import replace

import pytest
import torch

from fourfold import checks
from fourfold.core import Noise, configuration, construct, count_evaluations, view
from fourfold.data.oracles import GaussianDenoiser, MixtureDenoiser
from fourfold.estimands import Denoiser, Velocity
from fourfold.paths import EDM, VE, VP, Cosine, RectifiedFlow, SubVP
from fourfold.samplers.guidance import Guided, GuidedVelocity
from fourfold.samplers.ode import DDIM, DPMSolver, Euler, Heun, knots
from fourfold.samplers.sde import DDPM, _posterior

MEAN = (0.3, -0.2, 0.1)
COVARIANCE = ((1.0, 0.5, 0.0), (0.5, 0.8, -0.3), (0.0, -0.3, 0.6))
ODE = (Euler, Heun, DDIM, DPMSolver)
PATHS = (EDM(), VE(), VP(), SubVP(), Cosine(), RectifiedFlow())


def gaussian(path):
    return GaussianDenoiser(path, MEAN, COVARIANCE)


@pytest.mark.parametrize("sampler", ODE)
def test_the_declared_order_is_the_measured_one(sampler):
    checks.check_order(sampler, sampler, gaussian(EDM()))


@pytest.mark.parametrize("sampler", [Euler, Heun, DDIM])
@pytest.mark.parametrize("path", [RectifiedFlow(), VP()])
def test_the_order_holds_on_other_paths(sampler, path):
    checks.check_order(sampler, sampler, gaussian(path))


@pytest.mark.parametrize("path", PATHS, ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("sampler", [*(s(500) for s in ODE), DDPM(200)], ids=lambda s: type(s).__name__)
def test_samples_have_the_mean_and_covariance_of_the_data(sampler, path):
    oracle = gaussian(path)
    with torch.no_grad():
        x = sampler(view(oracle, sampler.needs), Noise(0, 0, 8192)).double()
    assert torch.allclose(x.mean(0), torch.tensor(MEAN).double(), atol=0.05)
    assert torch.allclose(torch.cov(x.T), torch.tensor(COVARIANCE).double(), atol=0.09)


@pytest.mark.parametrize("path", PATHS, ids=lambda p: type(p).__name__)
def test_the_flow_of_a_gaussian_is_the_linear_map_between_the_two(path):
    """For p_t Gaussian the ODE maps x_T to mu + S^(1/2) C_T^(-1/2) (x_T - alpha_T mu) at every end."""
    oracle, mu, s = gaussian(path), torch.tensor(MEAN).double(), torch.tensor(COVARIANCE).double()
    grid = knots(path, 400)
    first = grid[0]
    x_t = (Noise(0, 0, 64).normal(3) * first.sigma).double()
    values, vectors = torch.linalg.eigh(s)
    scale = (values / (first.alpha**2 * values + first.sigma**2)).sqrt()
    exact = mu + (x_t - first.alpha * mu) @ vectors * scale @ vectors.T
    with torch.no_grad():
        x = Heun(400)(view(oracle, Velocity), Noise(0, 0, 64)).double()
    assert (x - exact).abs().max() < 5e-3


@pytest.mark.parametrize("sampler", [*(s(7) for s in ODE), DDPM(7)], ids=lambda s: type(s).__name__)
def test_the_last_step_leaves_no_noise(sampler):
    """Of data at one point, every sampler returns that point exactly, however few its steps."""
    point = GaussianDenoiser(EDM(), (2.0, -1.0), ((1e-12, 0.0), (0.0, 1e-12)))
    with torch.no_grad():
        x = sampler(view(point, sampler.needs), Noise(0, 0, 8))
    assert torch.allclose(x, torch.tensor([2.0, -1.0]).expand(8, 2), atol=1e-4)


@pytest.mark.parametrize(
    ("sampler", "evaluations"),
    [(Euler(6), 6), (DDIM(6), 6), (DPMSolver(6), 6), (Heun(6), 11), (DDPM(6), 6), (Euler(1), 1)],
)
def test_evaluations_are_as_documented(sampler, evaluations):
    oracle = gaussian(EDM())
    with count_evaluations(oracle) as count:
        sampler(view(oracle, sampler.needs), Noise(0, 0, 4))
    assert count.calls == evaluations


@pytest.mark.parametrize("path", PATHS, ids=lambda p: type(p).__name__)
def test_ancestral_coefficients_are_the_posterior_of_two_gaussians(path):
    """q(x_s | x_t, x_0) by Bayes' rule for the scalar chain x_0 -> x_s -> x_t."""
    for t, s in zip(knots(path, 9), knots(path, 9)[1:], strict=False):
        a = t.alpha / s.alpha
        step = t.sigma**2 - (a * s.sigma) ** 2
        precision = 1 / s.sigma**2 + a**2 / step
        expected = (a / step / precision, s.alpha / s.sigma**2 / precision, precision**-0.5)
        assert _posterior(t, s) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_ddpm_with_many_steps_draws_a_mixture():
    oracle = MixtureDenoiser(EDM(), (0.3, 0.7), ((-3.0,), (3.0,)), (((0.25,),), ((0.25,),)))
    with torch.no_grad():
        x = DDPM(60)(oracle, Noise(1, 0, 4096))[:, 0]
    assert (x < 0).double().mean().item() == pytest.approx(0.3, abs=0.03)
    assert x[x > 0].std().item() == pytest.approx(0.5, abs=0.04)


def test_no_steps_are_refused():
    with pytest.raises(ValueError, match="at least 1 step"):
        DDIM(0)(gaussian(EDM()), Noise(0, 0, 2))


@pytest.mark.parametrize("sampler", [*(s(7) for s in ODE), DDPM(7)], ids=lambda s: type(s).__name__)
def test_settings_survive_a_round_trip(sampler):
    assert construct(configuration(sampler)) == sampler
    assert replace(sampler, steps=3).steps == 3


# --- guidance ---------------------------------------------------------------------------------------------------------

MIXTURE = ((0.5, 0.5), ((-1.0, 0.0), (1.0, 0.5)), (((0.2, 0.0), (0.0, 0.3)),) * 2)


def points(path):
    generator = torch.Generator().manual_seed(0)
    t = torch.linspace(0.2, 0.8, 12) * (path.t_max - path.t_min)
    return torch.randn(12, 2, generator=generator) * 2, t, torch.arange(12) % 2


def test_guidance_at_scale_one_is_conditional_and_at_zero_unconditional():
    oracle = MixtureDenoiser(EDM(), *MIXTURE)
    x, t, cond = points(oracle.path)
    assert torch.equal(Guided(oracle, 1.0)(x, t, cond), oracle(x, t, cond))
    assert torch.allclose(Guided(oracle, 0.0)(x, t, cond), oracle(x, t, None))
    assert torch.equal(Guided(oracle, 3.0)(x, t), oracle(x, t))
    unknown = torch.full_like(cond, -1)
    assert torch.allclose(Guided(oracle, 3.0)(x, t, unknown), oracle(x, t))


def test_guidance_extrapolates_by_one_doubled_call():
    oracle = MixtureDenoiser(EDM(), *MIXTURE)
    x, t, cond = points(oracle.path)
    with count_evaluations(guided := Guided(oracle, 2.5)) as count:
        out = guided(x, t, cond)
    assert (count.calls, count.rows) == (1, 24)
    assert torch.allclose(out, oracle(x, t) + 2.5 * (oracle(x, t, cond) - oracle(x, t)), atol=1e-5)


def test_guiding_a_velocity_is_guiding_its_denoiser():
    oracle = MixtureDenoiser(RectifiedFlow(), *MIXTURE)
    x, t, cond = points(oracle.path)
    of_velocity = view(GuidedVelocity(view(oracle, Velocity), 2.0), Denoiser)
    assert torch.allclose(of_velocity(x, t, cond), Guided(oracle, 2.0)(x, t, cond), atol=1e-5)


def test_guidance_moves_samples_away_from_the_other_class():
    oracle = MixtureDenoiser(EDM(), *MIXTURE)
    cond = torch.zeros(512, dtype=torch.long)
    with torch.no_grad():
        plain = DPMSolver(20)(Guided(oracle, 1.0), Noise(0, 0, 512), cond)
        pushed = DPMSolver(20)(Guided(oracle, 2.0), Noise(0, 0, 512), cond)
    assert plain[:, 0].mean().item() == pytest.approx(-1.0, abs=0.1)
    assert pushed[:, 0].mean() < plain[:, 0].mean() - 0.1
    assert math.isfinite(float(pushed.sum()))
