"""All kinds of likelihood on one set with a known density: exact = ODE estimate, ELBO < IWAE < exact, AIS brackets it.

Each kind is asked twice: of an oracle, where the answer is the density the data were drawn from, and of a small trained
model, where it is the model's own density by brute-force quadrature. No trained model may beat the truth on average,
since ``E_p log p - E_p log q = KL(p || q) >= 0``.
"""

import math

import pytest
import torch
from torch import Tensor, nn

from fourfold.codecs import Standardised
from fourfold.core import GenerativeModel
from fourfold.data import Dataset, MixtureDenoiser, load
from fourfold.data.densities import GaussianMixture
from fourfold.distributions.references import Normal
from fourfold.engine import fit
from fourfold.estimands import Bijection
from fourfold.likelihoods import ProbabilityFlow
from fourfold.likelihoods.annealing import LogZ, bracket_log_z
from fourfold.maths.paths import EDM
from fourfold.paradigms.diffusion import Denoising
from fourfold.paradigms.energy import ContrastiveDivergence, Tilted, Unnormalised
from fourfold.paradigms.flow import ChangeOfVariables, ExactDensity, NoiseThenMap
from fourfold.paradigms.latent import Elbo, ImportanceWeighted
from fourfold.samplers.langevin import Annealed
from fourfold.samplers.ode import DPMSolver
from fourfold.spaces import Vectors
from fourfold.vocabulary import Kind

N = 200
SPACE = Vectors(2)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load("gaussian-mixture")


@pytest.fixture(scope="module")
def truth(data: Dataset) -> Tensor:
    """``log p(x)`` of the first test examples, ``(N,)``."""
    return data.density.log_prob(data.test.x[:N])


def trained(name: str, steps: int) -> GenerativeModel:
    return fit(name, "gaussian-mixture", budget=f"{steps} steps", size="xs", precision="float32").model


def grid(reach: float, points: int) -> tuple[Tensor, float]:
    """Midpoints of the cells of a square, ``(points^2, 2)``, and the logarithm of a cell's area."""
    line = (torch.arange(points, dtype=torch.float32) + 0.5) * (2 * reach / points) - reach
    return torch.cartesian_prod(line, line), 2 * math.log(2 * reach / points)


def assert_no_better_than(nats: Tensor, truth: Tensor, slack: float = 0.0) -> None:
    """The mean log-density is at most the truth's, within the error of their difference over examples."""
    difference = nats.double() - truth
    assert float(difference.mean()) < 4 * float(difference.std()) / math.sqrt(len(truth)) + slack


# --- exact ------------------------------------------------------------------------------------------------------------


class Rosenblatt(Bijection):
    """``z_i = Phi^-1(P(X_i <= x_i | x_<i))`` of a mixture in the plane: a flow that is right (Rosenblatt 1952)."""

    event = latent = (2,)

    def __init__(self, mixture: GaussianMixture) -> None:
        super().__init__()
        self.mixture, self.net = mixture, nn.Identity()

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        """By bisection, one coordinate after the other."""
        x = torch.zeros_like(z, dtype=torch.double)
        for i in range(2):
            low, high = torch.full((len(z),), -40.0).double(), torch.full((len(z),), 40.0).double()
            for _ in range(60):
                x[:, i] = (low + high) / 2
                below = self.inverse(x)[0][:, i] < z[:, i]
                low, high = torch.where(below, x[:, i], low), torch.where(below, high, x[:, i])
        return x

    def inverse(self, x: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, mu, cov = x.double(), self.mixture.means, self.mixture.covariances
        first = torch.distributions.Normal(mu[:, 0], cov[:, 0, 0].sqrt())
        slope = cov[:, 0, 1] / cov[:, 0, 0]
        middle = mu[:, 1] + slope * (x[:, :1] - mu[:, 0])
        second = torch.distributions.Normal(middle, (cov[:, 1, 1] - slope * cov[:, 0, 1]).sqrt())
        log_weights = self.mixture.weights.log() + first.log_prob(x[:, :1])
        posterior = log_weights.softmax(1)
        u = torch.stack([first.cdf(x[:, :1]) @ self.mixture.weights, (posterior * second.cdf(x[:, 1:])).sum(1)], 1)
        z = math.sqrt(2) * torch.erfinv(2 * u - 1)
        log_p = (log_weights + second.log_prob(x[:, 1:])).logsumexp(1)
        return z, log_p + 0.5 * z.square().sum(1) + math.log(2 * math.pi)


def test_the_flow_that_is_right_draws_the_data(data):
    flow = Rosenblatt(data.density)
    z = torch.randn(4000, 2, generator=torch.Generator().manual_seed(0))
    x = flow(z)
    torch.testing.assert_close(flow.inverse(x)[0], z.double(), atol=1e-5, rtol=1e-5)
    weights, mu, cov = data.density.weights, data.density.means, data.density.covariances
    mean = weights @ mu
    second = (weights[:, None, None] * (cov + mu[:, :, None] * mu[:, None])).sum(0)
    assert ((x.mean(0) - mean).abs() < 4 * x.std(0) / math.sqrt(len(x))).all()
    products = x[:, :, None] * x[:, None]
    assert ((products.mean(0) - second).abs() < 4 * products.std(0) / math.sqrt(len(x))).all()


def test_exact_and_the_ode_estimate_of_the_truth_agree_with_it_and_with_each_other(data, truth):
    x = data.test.x[:N]
    flow = GenerativeModel(
        SPACE, Standardised(SPACE), Rosenblatt(data.density), ChangeOfVariables(), NoiseThenMap(), ExactDensity()
    )
    denoiser = MixtureDenoiser.of(EDM(), data.density)
    diffusion = GenerativeModel(
        SPACE, Standardised(SPACE), denoiser, Denoising(), DPMSolver(), ProbabilityFlow(steps=64)
    )
    exact, estimate = flow.log_prob(x), diffusion.log_prob(x)
    assert (exact.kind, estimate.kind) == (Kind.EXACT, Kind.ESTIMATE)
    assert torch.allclose(exact.nats.double(), truth, atol=1e-4)
    error = (estimate.nats - exact.nats).double()
    assert abs(float(error.mean())) < 4 * float(error.std()) / math.sqrt(N) + 0.01


def test_a_trained_flow_is_a_density_and_no_better_than_the_truth(data, truth):
    model = trained("flow", 100)
    nats = model.log_prob(data.test.x[:N])
    assert nats.kind is Kind.EXACT
    points, log_cell = grid(12.0, 200)
    assert float(model.log_prob(points).nats.double().logsumexp(0)) + log_cell == pytest.approx(0, abs=0.02)
    assert_no_better_than(nats.nats, truth)
    assert float((truth - nats.nats).mean()) < 0.5


# --- bounds -----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def marginal(model: GenerativeModel, x: Tensor) -> Tensor:
    """``log p(x) = log integral p(u) p(x | u) du`` over the two numbers of a code, by quadrature, ``(B,)``."""
    encoded, log_det = model.codec.encode(x)[:2]
    u, log_cell = grid(7.0, 160)
    decoder = model.estimand
    log_prior = decoder.prior.log_prob(u)
    assert float(log_prior.double().logsumexp(0)) + log_cell == pytest.approx(0, abs=0.01)
    seen = decoder.decode(u)
    far = ((encoded[:, None] - seen.mu) / seen.log_scale.exp()).square().sum(2)
    log_joint = log_prior - far / 2 - seen.log_scale.sum(1) - math.log(2 * math.pi)
    return log_joint.double().logsumexp(1) + log_cell + log_det


@pytest.mark.agreement
def test_elbo_below_importance_weighting_below_exact_below_the_truth(data, truth):
    model, x = trained("latent-variable", 250), data.test.x[:N]
    scores = [model.with_parts(likelihood=ImportanceWeighted(K)).log_prob(x) for K in (4, 64)]
    scores.insert(0, model.with_parts(likelihood=Elbo(32)).log_prob(x))
    assert {score.kind for score in scores} == {Kind.LOWER_BOUND}
    exact = marginal(model, x)
    means = [float(score.nats.double().mean()) for score in scores] + [float(exact.mean())]
    errors = [float(score.std_error.square().sum().sqrt()) / N for score in scores]
    elbo, few, many, exact_mean = means
    assert elbo + 4 * errors[0] < many < exact_mean + 4 * errors[2]
    assert elbo < few < exact_mean + 4 * errors[1]
    assert exact_mean - many < 0.05 < exact_mean - elbo
    assert_no_better_than(exact, truth)
    for score in scores:
        assert_no_better_than(score.nats, truth)


# --- unnormalised -----------------------------------------------------------------------------------------------------


class LogRatio(nn.Module):
    """``log p(x) - log q(x) + log Z``: the tilt that makes of a reference the known density, times ``Z``."""

    def __init__(self, density: GaussianMixture, reference: Normal, log_z: float) -> None:
        super().__init__()
        self.density, self.reference, self.log_z = density, reference, log_z

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        return (self.density.log_prob(x) - self.reference.log_prob(x)).float() + self.log_z


def assert_between(log_z: LogZ, nats: Tensor, exact: float, reference: float) -> None:
    """The bracket holds ``log Z``, and so the mean log-density ``mean(-E) - log Z``, and is narrow enough to say
    something.
    """
    low, high = log_z.interval(4)
    assert low < exact < high
    mean = float(nats.double().mean())
    assert mean - high < reference < mean - low
    assert high - low < 0.6


@pytest.mark.agreement
def test_annealing_both_ways_holds_the_normaliser_of_the_true_energy(data, truth):
    reference = Normal((2,), 3.0)
    energy = Tilted(LogRatio(data.density, reference, 1.7), (2,), reference)
    model = GenerativeModel(SPACE, Standardised(SPACE), energy, ContrastiveDivergence((2,)), Annealed(), Unnormalised())
    nats = model.log_prob(data.test.x[:N])
    assert nats.kind is Kind.UNNORMALISED
    log_z = bracket_log_z(energy, chains=500, temperatures=200, samples=data.train.x[:500])
    assert_between(log_z, nats.nats, 1.7, float(truth.mean()))


@pytest.mark.agreement
def test_annealing_both_ways_holds_the_likelihood_of_a_trained_energy(data, truth):
    model = trained("energy", 200)
    points, log_cell = grid(10.0, 200)
    with torch.no_grad():
        exact = float((-model.estimand(points)).double().logsumexp(0)) + log_cell
    nats = model.log_prob(data.test.x[:N]).nats.double()
    log_z = bracket_log_z(model.estimand, chains=250, temperatures=60)
    assert_between(log_z, nats, exact, float(nats.mean()) - exact)
    assert_no_better_than(nats - exact, truth)
    assert float((truth - nats).mean()) + exact < 0.5
