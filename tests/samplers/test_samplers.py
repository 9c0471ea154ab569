"""Samplers against exact denoisers: their order, their law, and the clean last step."""

import functools
import itertools
import math
from dataclasses import replace

import pytest
import torch

from fourfold import checks
from fourfold.core import Noise, configuration, construct, count_evaluations, view
from fourfold.data.oracles import GaussianDenoiser, MixtureDenoiser
from fourfold.estimands import Denoiser, Velocity
from fourfold.maths.paths import EDM, VE, VP, Cosine, RectifiedFlow, SubVP
from fourfold.paradigms import build
from fourfold.samplers.ode import DDIM, DEIS, DPMSolver, DPMSolver3, Euler, Heun, UniPC, _integrals, knots, order_on
from fourfold.samplers.sde import (
    DDPM,
    AnnealedLangevin,
    EulerMaruyama,
    PredictorCorrector,
    SDEDPMSolver,
    StochasticHeun,
    bridge,
)
from fourfold.spaces import Vectors

MEAN = (0.3, -0.2, 0.1)
COVARIANCE = ((1.0, 0.5, 0.0), (0.5, 0.8, -0.3), (0.0, -0.3, 0.6))
ODE = (Euler, Heun, DDIM, DPMSolver, DPMSolver3, UniPC, DEIS)
SDE = (DDPM, SDEDPMSolver, EulerMaruyama, StochasticHeun, PredictorCorrector, AnnealedLangevin)
PATHS = (EDM(), VE(), VP(), SubVP(), Cosine(), RectifiedFlow())


def gaussian(path):
    return GaussianDenoiser(path, MEAN, COVARIANCE)


@functools.cache
def mixture(path):
    """Of two Gaussians, its ODE solved once from the starts of the check."""
    covariances = (((0.5, 0.1), (0.1, 0.3)), ((0.3, -0.1), (-0.1, 0.6)))
    oracle = MixtureDenoiser(path, (0.4, 0.6), ((-1.0, 0.3), (1.2, -0.5)), covariances)
    with checks.samplers.double():
        ends = checks.samplers._end(oracle)
    oracle.solved = lambda x_T: ends
    return oracle


def plane(path):
    return GaussianDenoiser(path, MEAN[:2], [row[:2] for row in COVARIANCE[:2]])


def alternating(samplers, paths=PATHS):
    """Each sampler on two paths, which take turns so that each has as many samplers."""
    return [
        pytest.param(*sampler, path, id=f"{i}-{type(path).__name__}")
        for i, sampler in enumerate(samplers)
        for path in (paths[i % len(paths)], paths[(i + len(paths) // 2) % len(paths)])
    ]


SOLVERS = {
    "Euler": Euler,
    "Heun": Heun,
    "DDIM": DDIM,
    "DPMSolver": DPMSolver,
    "DPMSolver3": DPMSolver3,
    **{f"UniPC({p})": lambda n, p=p: UniPC(n, p) for p in (1, 2, 3)},
    **{f"DEIS({p})": lambda n, p=p: DEIS(n, p) for p in (1, 2, 3, 4)},
}


ON_PATHS = [
    pytest.param(name, path, id=f"{name}-{type(path).__name__}")
    for name, path in itertools.product(SOLVERS, PATHS)
    if type(path) in (EDM, VP) or name in ("Heun", "UniPC(3)")
]
"""Each solver on two paths, of growing and of constant variance, and two solvers on the other paths."""


@pytest.mark.parametrize(("name", "path"), ON_PATHS)
def test_the_declared_order_is_the_measured_one_on_every_path(name, path):
    checks.check_order(type(SOLVERS[name](1)), SOLVERS[name], mixture(path), (96, 192))


def test_the_two_ways_of_solving_the_ode_of_an_oracle_agree():
    for path in PATHS:
        gaussian, other = plane(path), MixtureDenoiser(path, (1.0,), [MEAN[:2]], [[row[:2] for row in COVARIANCE[:2]]])
        x_T = knots(path, 1)[0].sigma * Noise(0, 0, 16).normal(2).double()
        assert torch.allclose(gaussian.solved(x_T), other.solved(x_T), atol=1e-9, rtol=0)


def test_above_second_order_the_paths_differ_and_say_so():
    """A grid even in time does not resolve lambda at its ends, so a bound of 3 there would be found too high."""
    assert [path.highest_order for path in PATHS] == [4, 4, 3, 4, 2, 2]
    with pytest.raises(checks.CheckFailed, match="DPMSolver3 on _Even: error slope -2"):
        checks.check_order(DPMSolver3, DPMSolver3, plane(_Even()), (96, 192))


def test_a_model_says_the_order_that_its_path_allows():
    solvers = (Euler(), DPMSolver(), DPMSolver3(), UniPC(predictor=3), DEIS(order=3))
    assert [order_on(solver, EDM()) for solver in solvers] == [1, 2, 3, 4, 3]
    assert [order_on(solver, RectifiedFlow()) for solver in solvers] == [1, 2, 2, 2, 2]
    model = build("diffusion/velocity", Vectors(2), "xs").with_parts(sampler=UniPC(9, predictor=3))
    assert type(model.estimand.path) is RectifiedFlow
    assert model.facts.sampling.endswith("in 9 steps of UniPC, of order 2")


class _Even(RectifiedFlow):
    highest_order = 3


@pytest.mark.parametrize(
    ("sampler", "make", "path"),
    alternating(
        [
            (DDPM, DDPM),
            (EulerMaruyama, EulerMaruyama),
            (PredictorCorrector, lambda n: PredictorCorrector(n, corrections=0)),
            (SDEDPMSolver, SDEDPMSolver),
            (StochasticHeun, lambda n: StochasticHeun(n, churn=3.0)),
        ],
        [VP(), EDM(), SubVP()],
    ),
)
def test_the_weak_order_is_that_of_the_moments(sampler, make, path):
    checks.check_order(sampler, make, plane(path), (24, 48))


def test_a_wrong_order_is_found_out():
    with pytest.raises(checks.CheckFailed, match="declares no order"):
        checks.check_order(AnnealedLangevin, AnnealedLangevin, plane(VP()))
    with pytest.raises(checks.CheckFailed, match=r"slope -(1|0\.9)"):
        checks.check_order(_Third, _Third, plane(EDM()), (64, 128))
    with pytest.raises(checks.CheckFailed, match="slope -0"):
        checks.check_order(_Biased, lambda n: _Biased(DPMSolver(n)), plane(EDM()), (32, 64))
    with pytest.raises(checks.CheckFailed, match=r"off by [5-9].*%"):
        checks.check_order(_Biased, lambda n: _Biased(DDPM(n)), plane(EDM()), (32, 64))


class _Biased:
    """Tends to another distribution at the declared order, which no finer grid of its own would tell."""

    needs = Denoiser

    def __init__(self, sampler):
        self.sampler = sampler
        self.order, self.weak_order = getattr(sampler, "order", None), getattr(sampler, "weak_order", None)

    def __call__(self, estimand, noise, cond=None):
        return 1.04 * self.sampler(estimand, noise, cond)


class _Third:
    """First-order steps that claim a third order."""

    needs = Denoiser
    order = 3

    def __init__(self, steps):
        self.steps = steps

    def __call__(self, estimand, noise, cond=None):
        return DDIM(self.steps)(estimand, noise, cond)


def test_moments_are_those_of_samples():
    """What the check computes without chance, against 8,192 draws."""
    sampler = PredictorCorrector(12)
    with torch.no_grad():
        mean, covariance = checks.moments(sampler, gaussian(VP()))
        x = sampler(gaussian(VP()), Noise(0, 0, 8192)).double()
    assert torch.allclose(x.mean(0), mean.double(), atol=0.04)
    assert torch.allclose(torch.cov(x.T), covariance.double(), atol=0.05)


@pytest.mark.parametrize(
    ("sampler", "off", "path"),
    alternating(
        [
            (DDPM(150), 0.08),
            (SDEDPMSolver(60), 0.03),
            (EulerMaruyama(150), 0.08),
            (StochasticHeun(50), 0.05),
            (PredictorCorrector(100), 0.12),
            (AnnealedLangevin(30, moves=30), 0.12),
        ]
    ),
)
def test_stochastic_samples_have_the_mean_and_covariance_of_the_data(sampler, off, path):
    oracle = plane(path)
    with torch.no_grad():
        mean, covariance = checks.moments(sampler, view(oracle, sampler.needs))
    assert torch.allclose(mean, torch.tensor(MEAN[:2]), atol=0.03)
    assert torch.allclose(covariance, torch.tensor(COVARIANCE)[:2, :2], atol=off)


@pytest.mark.parametrize(("sampler", "path"), alternating([(s(1000 if s in (Euler, DDIM) else 100),) for s in ODE]))
def test_samples_have_the_mean_and_covariance_of_the_data(sampler, path):
    """The flow of a Gaussian is affine, so 64 points that span the plane tell its moments."""
    oracle = gaussian(path)
    with torch.no_grad():
        z = Noise(0, 0, 64)
        x = sampler(view(oracle, sampler.needs), z).double()
    first = Noise(0, 0, 64).normal(3).double()
    rows = torch.cat([first, torch.ones(64, 1).double()], 1)
    solution = torch.linalg.lstsq(rows, x).solution
    assert torch.allclose(solution[3], torch.tensor(MEAN).double(), atol=0.02)
    assert torch.allclose(solution[:3].T @ solution[:3], torch.tensor(COVARIANCE).double(), atol=0.1)


def test_langevin_corrections_leave_the_bias_they_say():
    """X <- x + e s + sqrt(2 e) z with e = 2 r^2 sigma^2 has variance v / (1 - e / 2v) in the end where p_t =
    N(0, v).
    """
    path, r = VE(), 0.16
    sigma = knots(path, 2)[1].sigma
    v, e = 1 + sigma**2, 2 * (r * sigma) ** 2
    with torch.no_grad():
        _, covariance = checks.moments(PredictorCorrector(2, 600, r), GaussianDenoiser(path, (0.0,), ((1.0,),)))
    assert float(covariance) == pytest.approx(
        v / (1 - e / (2 * v)) / v**2, rel=1e-3
    )  # the last step multiplies by 1 / v


def test_weights_of_an_integrator_are_exact_on_polynomials():
    nodes, low, high = [-1.0, 0.3, 0.9], 0.9, 2.1
    weights = _integrals(nodes, low, high, lambda u: torch.exp(torch.from_numpy(u)).numpy())
    for power, exact in ((0, lambda u: 1.0), (1, lambda u: u - 1), (2, lambda u: u**2 - 2 * u + 2)):
        expected = exact(high) * math.exp(high) - exact(low) * math.exp(low)
        assert sum(w * node**power for w, node in zip(weights, nodes, strict=True)) == pytest.approx(expected)


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


@pytest.mark.parametrize("sampler", [s(7) for s in (*ODE, *SDE)], ids=lambda s: type(s).__name__)
def test_the_last_step_leaves_no_noise(sampler):
    """Of data at one point, every sampler returns that point exactly, however few its steps."""
    point = GaussianDenoiser(EDM(), (2.0, -1.0), ((1e-12, 0.0), (0.0, 1e-12)))
    with torch.no_grad():
        x = sampler(view(point, sampler.needs), Noise(0, 0, 8))
    assert torch.allclose(x, torch.tensor([2.0, -1.0]).expand(8, 2), atol=1e-4)


@pytest.mark.parametrize(
    ("sampler", "evaluations"),
    [
        (Euler(6), 6),
        (DDIM(6), 6),
        (DPMSolver(6), 6),
        (DPMSolver3(6), 6),
        (UniPC(6), 6),
        (DEIS(6), 6),
        (Heun(6), 11),
        (DDPM(6), 6),
        (SDEDPMSolver(6), 6),
        (EulerMaruyama(6), 6),
        (StochasticHeun(6), 11),
        (PredictorCorrector(6, corrections=2), 16),
        (AnnealedLangevin(6, moves=3), 19),
        (Euler(1), 1),
        (UniPC(1), 1),
        (DEIS(1), 1),
    ],
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
        assert bridge(t, s) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_ddpm_with_many_steps_draws_a_mixture():
    oracle = MixtureDenoiser(EDM(), (0.3, 0.7), ((-3.0,), (3.0,)), (((0.25,),), ((0.25,),)))
    with torch.no_grad():
        x = DDPM(60)(oracle, Noise(1, 0, 4096))[:, 0]
    assert (x < 0).double().mean().item() == pytest.approx(0.3, abs=0.03)
    assert x[x > 0].std().item() == pytest.approx(0.5, abs=0.04)


def test_no_steps_are_refused():
    with pytest.raises(ValueError, match="steps must be at least 1"):
        DDIM(0)(gaussian(EDM()), Noise(0, 0, 2))


@pytest.mark.parametrize("sampler", [s(7) for s in (*ODE, *SDE)], ids=lambda s: type(s).__name__)
def test_settings_survive_a_round_trip(sampler):
    assert construct(configuration(sampler)) == sampler
    assert replace(sampler, steps=3).steps == 3
