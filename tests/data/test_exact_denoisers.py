import pytest
import torch

from fourfold.core import configuration, construct, count_evaluations, view
from fourfold.data import GaussianDenoiser, GaussianMixture, GaussianTransport, MixtureDenoiser, load
from fourfold.estimands import Denoiser, Score, Velocity
from fourfold.maths.paths import EDM, VE, VP, Cosine, RectifiedFlow, SubVP

PATHS = [RectifiedFlow(), EDM(0.05, 10.0), VE(0.05, 10.0), VP(), SubVP(), Cosine()]
each_path = pytest.mark.parametrize("path", PATHS, ids=lambda p: type(p).__name__)

MEAN = (1.0, -2.0, 0.5)
COVARIANCE = ((2.0, 0.6, -0.3), (0.6, 1.0, 0.2), (-0.3, 0.2, 0.5))


def mixture_of(path):
    return MixtureDenoiser.of(path, load("gaussian-mixture", limit=100).density)


def points(path, dim, n=40):
    generator = torch.Generator().manual_seed(0)
    t = path.t_min + (path.t_max - path.t_min) * (0.05 + 0.9 * torch.rand(n, generator=generator, dtype=torch.float64))
    x = 2 * torch.randn(n, dim, generator=generator, dtype=torch.float64)
    return path.noised(x, torch.randn(n, dim, generator=generator, dtype=torch.float64), t), t


def oracles(path):
    return [mixture_of(path), GaussianDenoiser(path, MEAN, COVARIANCE)]


@each_path
@pytest.mark.parametrize("which", [0, 1], ids=["mixture", "gaussian"])
def test_tweedie(path, which):
    # E[x_0 | x_t] = (x_t + sigma^2 grad log p_t(x_t)) / alpha, with the gradient by autograd.
    oracle = oracles(path)[which]
    x_t, t = points(path, oracle.event[0])
    x_t.requires_grad_()
    score = torch.autograd.grad(oracle.log_prob(x_t, t).sum(), x_t)[0]
    alpha, sigma = path.alpha(t)[:, None], path.sigma(t)[:, None]
    torch.testing.assert_close(oracle(x_t, t).detach(), (x_t.detach() + sigma**2 * score) / alpha, rtol=1e-7, atol=1e-8)
    torch.testing.assert_close(view(oracle, Score)(x_t, t).detach(), score, rtol=1e-6, atol=1e-8)


@each_path
def test_the_log_density_of_noised_data_is_that_of_the_blurred_mixture(path):
    mixture = load("gaussian-mixture", limit=100).density
    oracle = MixtureDenoiser.of(path, mixture)
    t = points(path, 2)[1][:1]
    alpha, sigma = path.alpha(t), path.sigma(t)
    blurred = GaussianMixture(
        mixture.weights, alpha * mixture.means, alpha**2 * mixture.covariances + sigma**2 * torch.eye(2).double()
    )
    x_t = points(path, 2)[0]
    torch.testing.assert_close(oracle.log_prob(x_t, t.expand(len(x_t))), blurred.log_prob(x_t))


@each_path
def test_the_velocity_transports_the_density(path):
    # Continuity equation: d/dt p_t + div(p_t v) = 0, that is d/dt log p + v . grad log p + div v = 0.
    oracle = mixture_of(path)
    velocity = view(oracle, Velocity)
    x_t, t = points(path, 2, 12)
    x_t, t = x_t.requires_grad_(), t.requires_grad_()
    d_x, d_t = torch.autograd.grad(oracle.log_prob(x_t, t).sum(), (x_t, t))
    v = velocity(x_t, t)
    divergence = sum(torch.autograd.grad(v[:, i].sum(), x_t, retain_graph=True)[0][:, i] for i in range(2))
    residual = d_t + (v * d_x).sum(1) + divergence
    scale = d_t.abs() + divergence.abs() + 1
    assert (residual / scale).abs().max() < 1e-7


@each_path
def test_views_commute(path):
    oracle = mixture_of(path)
    x_t, t = points(path, 2)
    for kind in (Velocity, Score):
        back = view(view(oracle, kind), Denoiser)
        torch.testing.assert_close(back(x_t, t), oracle(x_t, t), rtol=1e-6, atol=1e-7)


def test_gaussian_denoiser_by_the_conditional_formula():
    path = RectifiedFlow()
    x_t, t = points(path, 3)
    mean, cov = torch.tensor(MEAN).double(), torch.tensor(COVARIANCE).double()
    expected = []
    for x, time in zip(x_t, t, strict=True):
        a, s = 1 - time, time
        gain = a * cov @ torch.linalg.inv(a**2 * cov + s**2 * torch.eye(3).double())
        expected.append(mean + gain @ (x - a * mean))
    torch.testing.assert_close(GaussianDenoiser(path, MEAN, COVARIANCE)(x_t, t), torch.stack(expected))


def test_mixture_denoiser_by_brute_force():
    # E[x_0 | x_t] by summing over a fine grid of x_0.
    path = Cosine()
    mixture = load("gaussian-mixture", limit=100).density
    line = torch.linspace(-7, 7, 281, dtype=torch.float64)
    x_0 = torch.cartesian_prod(line, line)
    t = torch.tensor([0.6], dtype=torch.float64)
    x_t = torch.tensor([[0.3, -0.2]], dtype=torch.float64)
    log_w = mixture.log_prob(x_0) - ((x_t - path.alpha(t) * x_0) ** 2).sum(1) / (2 * path.sigma(t) ** 2)
    expected = (log_w.softmax(0)[:, None] * x_0).sum(0)
    torch.testing.assert_close(MixtureDenoiser.of(path, mixture)(x_t, t)[0], expected, atol=1e-5, rtol=1e-5)


@each_path
def test_it_is_the_minimiser_of_the_denoising_loss(path):
    # E || D - x_0 ||^2 has no slope at D = E[x_0 | x_t] in any direction f(x_t): E[(D - x_0) f(x_t)] = 0.
    mixture = load("gaussian-mixture", limit=100).density
    generator = torch.Generator().manual_seed(1)
    x_0, _ = mixture.sample(40_000, generator)
    t = torch.full((40_000,), path.t_min + 0.4 * (path.t_max - path.t_min), dtype=torch.float64)
    x_t = path.noised(x_0, torch.randn(x_0.shape, generator=generator, dtype=torch.float64), t)
    error = MixtureDenoiser.of(path, mixture)(x_t, t) - x_0
    for direction in (torch.ones_like(x_t), x_t, x_t.flip(1), x_t.sin()):
        slope = error * direction
        assert (slope.mean(0).abs() < 4.5 * slope.std(0) / 200).all()


def test_labels_choose_a_component():
    path = VP()
    mixture = load("gaussian-mixture", limit=100).density
    oracle = MixtureDenoiser.of(path, mixture)
    x_t, t = points(path, 2)
    for k in range(4):
        single = GaussianDenoiser(path, mixture.means[k].tolist(), mixture.covariances[k].tolist())
        cond = torch.full((len(x_t),), k)
        torch.testing.assert_close(oracle(x_t, t, cond), single(x_t, t))
        torch.testing.assert_close(oracle.log_prob(x_t, t, cond), single.log_prob(x_t, t))
    unknown = torch.full((len(x_t),), -1)
    torch.testing.assert_close(oracle(x_t, t, unknown), oracle(x_t, t))


def test_limits_of_time():
    path = RectifiedFlow()
    oracle = mixture_of(path)
    x = points(path, 2)[0]
    torch.testing.assert_close(oracle(x, torch.zeros(len(x)).double()), x)
    mixture = load("gaussian-mixture", limit=100).density
    mean = (mixture.weights[:, None] * mixture.means).sum(0)
    torch.testing.assert_close(oracle(x, torch.ones(len(x)).double()), mean.expand_as(x))


def test_the_field_of_optimal_transport_moves_along_straight_lines():
    """x_t = (1 - t) x_0 + t eps for eps = S^(-1/2) (x_0 - mu), whose field at x_t is eps - x_0."""
    values, vectors = torch.linalg.eigh(torch.tensor(COVARIANCE).double())
    root = vectors @ values.sqrt().diag() @ vectors.T
    eps = torch.randn(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x_0 = torch.tensor(MEAN) + eps @ root
    t = torch.linspace(0, 1, 40, dtype=torch.float64)
    field = GaussianTransport(RectifiedFlow(), MEAN, COVARIANCE)
    torch.testing.assert_close(field(RectifiedFlow().noised(x_0, eps, t), t), eps - x_0)
    assert not isinstance(field, Velocity)


def test_it_stands_in_a_networks_seat():
    oracle = mixture_of(EDM())
    x_t, t = points(EDM(), 2)
    with count_evaluations(oracle) as count:
        out = view(oracle, Velocity)(x_t.float(), t.float())
    assert out.dtype == torch.float32
    assert (count.calls, count.rows) == (1, 40)
    copy = construct(configuration(oracle))
    torch.testing.assert_close(copy(x_t, t), oracle(x_t, t))
    gaussian = GaussianDenoiser(VP(), MEAN, COVARIANCE)
    torch.testing.assert_close(construct(configuration(gaussian))(*points(VP(), 3)), gaussian(*points(VP(), 3)))


def test_mixture_density_is_torchs():
    mixture = load("gaussian-mixture", limit=100).density
    x = points(VP(), 2)[0]
    parts = torch.stack(
        [
            torch.distributions.MultivariateNormal(m, c).log_prob(x)
            for m, c in zip(mixture.means, mixture.covariances, strict=True)
        ]
    )
    torch.testing.assert_close(mixture.log_prob(x), torch.logsumexp(parts + mixture.weights.log()[:, None], 0))
    cond = torch.arange(len(x)) % 4
    torch.testing.assert_close(mixture.log_prob(x, cond), parts.gather(0, cond[None])[0])


@pytest.mark.parametrize(
    ("weights", "means", "covariances"),
    [
        ([1.0], [[0.0, 0.0]], [[[1.0, 2.0], [2.0, 1.0]]]),
        ([1.0, 1.0], [[0.0]], [[[1.0]]]),
        ([1.0], [[0.0, 0.0]], [[[1.0]]]),
    ],
)
def test_impossible_mixtures_are_refused(weights, means, covariances):
    with pytest.raises(ValueError, match=r"positive definite|covariances must be"):
        GaussianMixture(weights, means, covariances)
