"""Posterior samples against the exact posterior of linear-Gaussian problems, and what the approximation costs
elsewhere.
"""

import pytest
import torch

from fourfold import checks
from fourfold.core import GenerativeModel, Noise, view
from fourfold.data.densities import GaussianMixture
from fourfold.data.oracles import GaussianDenoiser, MixtureDenoiser
from fourfold.estimands import Denoiser, NoisePredictor, Score, Velocity
from fourfold.maths.paths import EDM, VE, VP, RectifiedFlow, SubVP
from fourfold.paradigms import build
from fourfold.samplers.inverse import (
    Blur,
    Conditioned,
    Decoded,
    Inpainting,
    Matrix,
    ParticlePosterior,
    Posterior,
    SuperResolution,
)
from fourfold.samplers.ode import DPMSolver, Heun
from fourfold.samplers.sde import SDEDPMSolver
from fourfold.spaces import Images, Vectors

MEAN = (0.3, -0.2, 0.1)
COVARIANCE = ((1.0, 0.5, 0.0), (0.5, 0.8, -0.3), (0.0, -0.3, 0.6))
H = Matrix(torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, -1.0]]))
Y, SIGMA = torch.tensor([[1.2, -0.7]]), 0.3


def exact(mean, covariance, y):
    """Mean, covariance and log-evidence of p(x | y) for one Gaussian."""
    mu, s, h = torch.tensor(mean).double(), torch.tensor(covariance).double(), H.matrix.double()
    evidence = h @ s @ h.T + SIGMA**2 * torch.eye(2).double()
    gain = s @ h.T @ torch.linalg.inv(evidence)
    log_p = torch.distributions.MultivariateNormal(h @ mu, evidence).log_prob(y.double())
    return mu + gain @ (y.double() - h @ mu), s - gain @ h @ s, log_p


@pytest.mark.parametrize(
    ("path", "sampler", "off"),
    [
        (EDM(), DPMSolver(100), 0.01),
        (EDM(), SDEDPMSolver(80), 0.02),
        (VE(), SDEDPMSolver(80), 0.02),
        (VP(), Heun(60), 0.01),
        (SubVP(), DPMSolver(100), 0.01),
        (RectifiedFlow(), Heun(60), 0.01),
    ],
    ids=lambda p: type(p).__name__,
)
def test_the_posterior_of_a_gaussian_is_exact(path, sampler, off):
    oracle = GaussianDenoiser(path, MEAN, COVARIANCE)
    with torch.no_grad():
        mean, covariance = checks.moments(Posterior(H, Y, SIGMA, sampler), oracle)
    right_mean, right_covariance, _ = exact(MEAN, COVARIANCE, Y[0])
    assert torch.allclose(mean.double(), right_mean, atol=off)
    assert torch.allclose(covariance.double(), right_covariance, atol=off)


@pytest.mark.parametrize("kind", [Denoiser, NoisePredictor, Velocity, Score])
def test_every_estimand_serves(kind):
    oracle = view(GaussianDenoiser(VP(), MEAN, COVARIANCE), kind)
    posterior = Posterior(H, Y, SIGMA, DPMSolver(60))
    with torch.no_grad():
        mean, covariance = checks.moments(posterior, view(oracle, posterior.needs))
    right_mean, right_covariance, _ = exact(MEAN, COVARIANCE, Y[0])
    assert torch.allclose(mean.double(), right_mean, atol=0.02)
    assert torch.allclose(covariance.double(), right_covariance, atol=0.02)


def test_the_denoiser_of_the_posterior_is_exact_at_every_level():
    prior = GaussianDenoiser(VP(), MEAN, COVARIANCE)
    mean, covariance, _ = exact(MEAN, COVARIANCE, Y[0])
    right = GaussianDenoiser(VP(), mean.tolist(), covariance.tolist())
    t, x = torch.linspace(0.05, 0.95, 16).double(), torch.randn(16, 3).double()
    prediction = Conditioned(prior, H, Y.expand(16, 2).double(), SIGMA, 4)(x, t)
    assert torch.allclose(prediction, right(x, t), atol=1e-6)


def test_a_linear_decoder_before_a_measurement_is_one_measurement():
    b, prior = torch.randn(3, 3, generator=torch.Generator().manual_seed(0)), GaussianDenoiser(VP(), MEAN, COVARIANCE)
    t, x = torch.linspace(0.05, 0.95, 16), torch.randn(16, 3)
    y = Y.expand(16, 2)
    decoded, direct = Decoded(H, lambda z: z @ b.T), Matrix(H.matrix @ b)
    explained = Conditioned(prior, decoded, y, SIGMA, 4).explain(x, t)
    right = Conditioned(prior, direct, y, SIGMA, 4).explain(x, t)
    assert all(torch.allclose(a, c, atol=1e-4) for a, c in zip(explained, right, strict=True))


def test_particles_of_codes_behind_a_curved_decoder_have_the_posterior_of_a_grid():
    """``y = z_1 + sin(2 z_1) / 3`` of a Gaussian code, against quadrature."""
    prior, y = GaussianDenoiser(VP(), (0.3, -0.2), ((1.0, 0.5), (0.5, 0.8))), 0.9
    decoded = Decoded(Matrix(torch.tensor([[1.0, 0.0]])), lambda z: z + torch.sin(2 * z) / 3)
    with torch.no_grad():
        z = ParticlePosterior(decoded, torch.tensor([[y]]), SIGMA, particles=8, steps=30)(prior, Noise(0, 0, 1024))
    grid = torch.linspace(-5, 5, 4001).double()
    p = (-(grid - 0.3).square() / 2 - (grid + torch.sin(2 * grid) / 3 - y).square() / (2 * SIGMA**2)).softmax(0)
    mean, second = float(p @ grid), float(p @ grid**2)
    assert float(z[:, 0].mean()) == pytest.approx(mean, abs=0.03)
    assert float(z[:, 0].std()) == pytest.approx((second - mean**2) ** 0.5, abs=0.03)
    assert float(z[:, 1].mean()) == pytest.approx(-0.2 + 0.5 * (mean - 0.3), abs=0.06)


def test_the_posterior_of_a_mixture_is_close():
    """Two modes, one of which explains y better: p(x_0 | x_t) is not Gaussian, and weights are off by a few
    hundredths.
    """
    means, covariance, weights = ((-1.0, 0.5, 0.0), (1.0, -0.5, 0.3)), COVARIANCE, (0.5, 0.5)
    narrow = tuple(tuple(0.2 * v for v in row) for row in covariance)
    oracle = MixtureDenoiser(EDM(), weights, means, (narrow, narrow))
    y = torch.tensor([[0.1, -0.1]])
    parts = [exact(m, narrow, y[0]) for m in means]
    share = torch.stack([p[2] for p in parts]).softmax(0)
    right = sum(w * p[0] for w, p in zip(share, parts, strict=True))
    with torch.no_grad():
        x = Posterior(H, y, SIGMA, SDEDPMSolver(60))(oracle, Noise(0, 0, 2048)).double()
    assert torch.allclose(x.mean(0), right, atol=0.15)
    closer = torch.stack([(x - p[0]).square().sum(1) for p in parts]).argmin(0)
    assert (closer == 0).double().mean().item() == pytest.approx(float(share[0]), abs=0.12)


ROUND = ((0.6, 0.4), ((-1.0, -1.0), (1.0, 1.0)), (((0.08, 0.0), (0.0, 0.08)),) * 2)
OBLIQUE = ((0.3, 0.7), ((-1.5, 0.3), (1.0, -0.5)), (((0.5, 0.3), (0.3, 0.3)), ((0.1, -0.05), (-0.05, 0.4))))


def by_quadrature(mixture, row, y, sigma):
    """The posterior mass of ``x_1 > 0`` and the mean, by a sum over a fine grid."""
    axis = torch.linspace(-6, 6, 1201).double()
    x = torch.cartesian_prod(axis, axis)
    log_p = GaussianMixture(*mixture).log_prob(x) - (x @ row - y).square() / (2 * sigma**2)
    p = log_p.softmax(0)
    return float(p[x[:, 0] > 0].sum()), p @ x


@pytest.mark.agreement
@pytest.mark.parametrize(
    ("path", "mixture", "row", "y"),
    [(EDM(), ROUND, (1.0, 0.0), 0.1), (VP(), OBLIQUE, (1.0, 0.5), 0.0)],
    ids=["EDM-round", "VP-oblique"],
)
def test_particles_keep_the_weights_of_modes(path, mixture, row, y):
    """Against quadrature, within three standard errors of 1,024 samples; :class:`Posterior` is off by .13 and more."""
    oracle, h = MixtureDenoiser(path, *mixture), torch.tensor([row]).double()
    share, mean = by_quadrature(mixture, h[0], y, SIGMA)
    sampler = ParticlePosterior(Matrix(h), torch.tensor([[y]]), SIGMA, particles=16, steps=30)
    with torch.no_grad():
        x = sampler(oracle, Noise(0, 0, 1024)).double()
    assert (x[:, 0] > 0).double().mean().item() == pytest.approx(share, abs=3 * (share * (1 - share) / 1024) ** 0.5)
    assert torch.allclose(x.mean(0), mean, atol=float(3 * x.std(0).max() / 32))


def test_particles_of_a_gaussian_have_its_posterior():
    with torch.no_grad():
        x = ParticlePosterior(H, Y, SIGMA, particles=4, steps=60)(
            GaussianDenoiser(VP(), MEAN, COVARIANCE), Noise(0, 0, 4096)
        )
    mean, covariance, _ = exact(MEAN, COVARIANCE, Y[0])
    assert torch.allclose(x.double().mean(0), mean, atol=0.04)
    assert torch.allclose(torch.cov(x.double().T), covariance, atol=0.04)


def test_particles_of_a_label_are_of_its_component():
    """y explains the second component better, and the label asks for the first."""
    oracle = MixtureDenoiser(VP(), *ROUND)
    sampler = ParticlePosterior(Matrix(torch.tensor([[1.0, 0.0]])), torch.tensor([[0.5]]), SIGMA, particles=4)
    with torch.no_grad():
        x = sampler(oracle, Noise(0, 0, 64), torch.zeros(64, dtype=torch.long))
    right = -1 + 0.08 / (0.08 + SIGMA**2) * 1.5
    assert torch.allclose(x.mean(0), torch.tensor([right, -1.0]), atol=0.12)


@pytest.mark.parametrize(
    ("operator", "event"),
    [
        (Inpainting((torch.arange(6) % 2).float().reshape(1, 2, 3)), (2, 2, 3)),
        (SuperResolution(2), (2, 4, 6)),
        (Blur(0.8), (2, 7, 5)),
        (H, (3,)),
    ],
    ids=lambda o: type(o).__name__,
)
def test_adjoints(operator, event):
    """<H x, y> = <x, H^T y>."""
    x = torch.randn(4, *event).double()
    y = torch.randn_like(operator(x))
    left, right = (operator(x) * y).flatten(1).sum(1), (x * operator.adjoint(y)).flatten(1).sum(1)
    torch.testing.assert_close(left, right)


@pytest.mark.parametrize(
    "sampler",
    [lambda y: Posterior(H, y, 0.1, DPMSolver(5)), lambda y: ParticlePosterior(H, y, 0.5, particles=3, steps=6)],
    ids=["one", "particles"],
)
def test_measurements_keep_their_samples_whatever_the_batch(sampler):
    torch.manual_seed(0)
    model = build("diffusion", Vectors(3), "xs")
    y = torch.randn(5, 2)
    restored = model.with_parts(sampler=sampler(y))
    whole = restored.sample(70, batch_size=128)
    assert torch.allclose(whole[64:], restored.sample(6, start=64), atol=1e-4)
    assert not torch.allclose(whole[0], whole[5])
    checks.check_seeds(restored)


@pytest.mark.parametrize("operator", [Inpainting(torch.ones(1, 8, 8)), SuperResolution(2), Blur(1.0)])
def test_restored_images_agree_with_the_measurement(operator):
    """However bad the untrained prior, the samples explain y within its noise where y says everything."""
    model = build("diffusion/velocity", Images(1, 8, 8), "xs")
    x = torch.randint(256, (3, 1, 8, 8)).to(torch.uint8)
    y = operator(model.encode(x).x)
    samples = model.with_parts(sampler=Posterior(operator, y, 0.05, DPMSolver(12), iterations=6)).sample(3)
    before = (operator(model.encode(model.sample(3)).x) - y).square().mean().sqrt()
    assert (operator(model.encode(samples).x) - y).square().mean().sqrt() < 0.5 * before


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="sigma_y must be positive"):
        Posterior(H, Y, 0.0)
    with pytest.raises(ValueError, match="particles must be positive, got 0"):
        ParticlePosterior(H, Y, particles=0)
    with pytest.raises(ValueError, match="factor must divide"):
        SuperResolution(3)(torch.zeros(1, 1, 8, 8))
    assert isinstance(build("diffusion", Vectors(3), "xs").with_parts(sampler=Posterior(H, Y)), GenerativeModel)
