"""Markov chains against distributions whose moments are known."""

import math

import pytest
import torch

from fourfold.core import Noise, configuration, construct, view
from fourfold.data.densities import GaussianMixture
from fourfold.data.oracles import MixtureDenoiser
from fourfold.distributions.references import FittedMixture
from fourfold.estimands import Denoiser, Energy, NoisedEnergy, Reference, Score
from fourfold.maths.paths import EDM
from fourfold.nn.resnet import ResMLP
from fourfold.paradigms.energy import Tilted
from fourfold.samplers.langevin import HMC, MALA, Annealed, Bridge, Langevin, NoiseAnnealed

MEAN = torch.tensor([0.5, -1.0])
COVARIANCE = torch.tensor([[1.0, 0.6], [0.6, 0.8]])
MIXTURE = GaussianMixture([0.3, 0.7], [[-4.0, 0.0], [4.0, 1.0]], [[[0.5, 0.0], [0.0, 0.5]]] * 2)


class Wide(Reference):
    """``N(0, 4^2 I)``."""

    def log_prob(self, x):
        return torch.distributions.Normal(0, 4).log_prob(x).sum(1)

    def draw(self, noise):
        return 4 * noise.normal(2)


class Known(Energy):
    """Minus a known log-density, plus a constant."""

    event = (2,)

    def __init__(self, density, constant=0.0):
        super().__init__()
        self.density, self.constant, self.reference = density, constant, Wide()

    def forward(self, x, cond=None):
        return (self.constant - self.density(x)).float()


class Noised(NoisedEnergy):
    """Minus the log-density of a noised mixture, up to a constant that depends on the noise."""

    event = (2,)

    def __init__(self, path):
        super().__init__()
        self.path, self.reference = path, Wide()
        self.oracle = MixtureDenoiser.of(path, MIXTURE)

    def at(self, x_t, t, cond=None):
        return (t.double().cos() - self.oracle.log_prob(x_t, t)).to(x_t.dtype)


def gaussian():
    return Known(torch.distributions.MultivariateNormal(MEAN, COVARIANCE).log_prob, 3.0)


@pytest.mark.parametrize(
    "chain",
    [MALA(60, 0.3), MALA(40, 0.01, warmup=60), HMC(12, 0.5, leaps=4), HMC(10, 3.0, 40, leaps=3)],
    ids=repr,
)
def test_corrected_chains_have_the_moments_of_a_gaussian(chain):
    x = chain.run(gaussian(), Noise(0, 0, 4000)).x
    assert torch.allclose(x.mean(0), MEAN, atol=0.07)
    assert torch.allclose(x.T.cov(), COVARIANCE, atol=0.1)


def test_unadjusted_chains_have_the_bias_of_their_step():
    """For E = x^2 / 2 the stationary variance of x <- (1 - h) x + sqrt(2 h) eps is 1 / (1 - h / 2)."""
    normal = Known(lambda x: -0.5 * x.square().sum(1))
    x = Langevin(40, 0.5)(normal, Noise(1, 0, 8000))
    assert x.var(0).mean().item() == pytest.approx(1 / 0.75, rel=0.03)
    cold = Langevin(40, 0.5, temperature=0.1)(normal, Noise(1, 0, 8000))
    assert cold.var(0).mean().item() == pytest.approx(0.1 / 0.75, rel=0.03)


@pytest.mark.parametrize("warmup", [1, 20])
def test_a_chain_without_acceptance_has_nothing_to_adapt_its_step_to(warmup):
    """Dual averaging starts at ten times the step, and an acceptance that is always 1 would leave it there."""
    normal = Known(lambda x: -0.5 * x.square().sum(1))
    result = Langevin(40, 0.5, warmup=warmup).run(normal, Noise(1, 0, 8000))
    assert bool((result.step_size == 0.5).all())
    assert result.energies.shape == (8000, 40)
    assert result.x.var(0).mean().item() == pytest.approx(1 / 0.75, rel=0.03)


def test_annealing_leaves_the_step_of_an_unadjusted_chain_alone():
    result = Annealed(Langevin(4, 0.05), temperatures=3).run(gaussian(), Noise(0, 0, 4))
    assert bool((result.step_size == 0.05).all())


def test_step_sizes_adapt_to_the_target_acceptance():
    result = MALA(50, 1e-3, warmup=100).run(gaussian(), Noise(0, 0, 64))
    assert result.acceptance.mean().item() == pytest.approx(MALA.target, abs=0.1)


def test_the_adapted_step_size_forgets_the_first():
    """A leapfrog step is either stable or not, so its acceptance is a cliff; but both sides lead to the same edge."""
    small, large = (HMC(10, h, warmup=150, leaps=2).run(gaussian(), Noise(0, 0, 64)) for h in (1e-2, 10.0))
    assert small.step_size.mean().item() == pytest.approx(large.step_size.mean().item(), rel=0.2)
    assert 0.5 < small.acceptance.mean().item() < 0.99


def test_the_chain_of_a_gaussian_reports_that_it_mixes():
    report = HMC(200, 0.5, warmup=20, leaps=4).run(gaussian(), Noise(0, 0, 8), keep=1).diagnose()
    assert report.rhat < 1.03
    assert report.ess > 300


def test_chains_cannot_cross_between_far_modes_and_say_so():
    far = GaussianMixture([0.5, 0.5], [[-4.0, 0.0], [4.0, 1.0]], [[[0.1, 0.0], [0.0, 0.1]]] * 2)
    report = MALA(200, 0.05).run(Known(far.log_prob), Noise(0, 0, 16), keep=1).diagnose()
    assert report.rhat > 1.5


def shares(x):
    return (x[:, 0] > 0).double().mean().item()


def test_annealing_shares_out_the_modes_of_a_mixture():
    x = Annealed(MALA(10, 0.5), temperatures=60, moves=1, jumps=2)(Known(MIXTURE.log_prob), Noise(0, 0, 2000))
    assert shares(x) == pytest.approx(0.7, abs=0.05)
    right = x[x[:, 0] > 0]
    assert torch.allclose(right.mean(0), torch.tensor([4.0, 1.0]), atol=0.1)
    assert torch.allclose(right.T.cov(), 0.5 * torch.eye(2), atol=0.08)


def test_one_chain_alone_does_not():
    """What annealing is for: the modes get the shares of where chains started, a half each."""
    x = MALA(100, 0.3)(Known(MIXTURE.log_prob), Noise(0, 0, 2000))
    assert shares(x) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("chain", [Langevin(1, 0.05), MALA(20, 0.5), HMC(5, 0.5, leaps=2)], ids=["ULA", "MALA", "HMC"])
def test_noise_annealing_ends_at_the_data(chain):
    energy = Noised(EDM(0.02, 20.0))
    x = NoiseAnnealed(chain, levels=60, moves=2)(energy, Noise(0, 0, 2000))
    assert shares(x) == pytest.approx(0.7, abs=0.04)
    right = x[x[:, 0] > 0]
    assert torch.allclose(right.mean(0), torch.tensor([4.0, 1.0]), atol=0.1)
    assert torch.allclose(right.T.cov(), 0.5 * torch.eye(2), atol=0.1)


def test_a_clean_end_is_what_the_last_noisy_one_leads_one_to_expect():
    energy, noise = Noised(EDM(0.3, 20.0)), Noise(0, 0, 1000)
    noisy = NoiseAnnealed(Langevin(1, 0.05), levels=40, moves=0)(energy, noise)
    clean = NoiseAnnealed(Langevin(1, 0.05), levels=40, moves=0, clean=True)(energy, Noise(0, 0, 1000))
    expected = energy.oracle(noisy.double(), torch.full((1000,), 0.3, dtype=torch.float64))
    assert torch.allclose(clean, expected.float(), atol=1e-4)
    assert shares(clean) == pytest.approx(0.7, abs=0.06)


def test_an_energy_of_every_noise_level_is_a_score_and_a_denoiser():
    energy = Noised(EDM(0.02, 20.0))
    x, t = torch.randn(8, 2, dtype=torch.float64), torch.linspace(0.05, 5, 8).double()
    assert torch.allclose(view(energy, Score)(x, t), view(energy.oracle, Score)(x, t), atol=1e-9)
    assert torch.allclose(view(energy, Denoiser)(x, t), energy.oracle(x, t), atol=1e-7)
    with pytest.raises(TypeError, match="must be a Score or have a view as one"):
        view(gaussian(), Score)


def test_the_score_of_an_energy_can_be_differentiated():
    x = torch.randn(4, 2, dtype=torch.float64).requires_grad_()
    seen = view(Noised(EDM()), Score)
    t = torch.ones(4).double()
    (first,) = torch.autograd.grad(seen(x, t)[:, 0].sum(), x)
    step = torch.zeros(4, 2, dtype=torch.float64)
    step[:, 1] = 1e-5
    numeric = (seen((x + step).detach(), t)[:, 0] - seen((x - step).detach(), t)[:, 0]) / 2e-5
    assert torch.allclose(first[:, 1], numeric, atol=1e-6)


def test_a_bridge_goes_from_the_reference_to_the_energy():
    energy, x = gaussian(), torch.randn(5, 2)
    assert torch.allclose(Bridge(energy, 0.0)(x), -energy.reference.log_prob(x))
    assert torch.allclose(Bridge(energy, 1.0)(x), energy(x))
    middle = (energy(x) - energy.reference.log_prob(x)) / 2
    assert torch.allclose(Bridge(energy, 0.5)(x), middle)


def test_the_bridge_to_a_tilted_reference_evaluates_the_reference_once():
    torch.manual_seed(0)
    reference = FittedMixture(3)
    torch.nn.init.normal_(reference.lower)
    energy, x = Tilted(ResMLP(3, 1, 8, 1), (3,), reference), torch.randn(4, 3)
    bridge, log_q, log_p = Bridge(energy, 0.3), reference.log_prob(x), -energy(x)
    calls = []
    reference.log_prob = lambda x: calls.append(len(x)) or log_q
    assert torch.allclose(bridge(x), -(0.7 * log_q + 0.3 * log_p), atol=1e-5)
    assert calls == [4]


def test_a_reference_at_rest_is_the_same_without_gradients_of_its_parameters():
    torch.manual_seed(0)
    reference, x = FittedMixture(3), torch.randn(4, 3, requires_grad=True)
    torch.nn.init.normal_(reference.lower, std=0.3)
    still = reference.at_rest()
    assert torch.allclose(still.log_prob(x), reference.log_prob(x))
    assert torch.equal(still.draw(Noise(0, 0, 80)), reference.draw(Noise(0, 0, 80)))
    still.log_prob(x).sum().backward()
    assert x.grad is not None
    assert all(p.grad is None for p in reference.parameters())
    assert Wide().at_rest().log_prob(x).shape == (4,)


def test_a_jump_evaluates_the_proposal_once_and_without_a_gradient():
    torch.manual_seed(0)
    energy, graphs = Tilted(ResMLP(3, 1, 8, 1), (3,), FittedMixture(3)), []
    energy.net.register_forward_hook(lambda net, args, out: graphs.append(out.requires_grad))
    Annealed(MALA(1, 0.1), temperatures=2, moves=1, jumps=1)(energy, Noise(0, 0, 5))
    assert graphs == [True, True, False, True, True, False, True, True]


@pytest.mark.parametrize("sampler", [MALA(20, 0.3, warmup=5), HMC(4, 0.3), Annealed(MALA(5, 0.3), 5)], ids=repr)
def test_a_chain_does_not_depend_on_its_neighbours(sampler):
    whole = sampler(gaussian(), Noise(0, 0, 100))
    assert torch.allclose(whole[70:80], sampler(gaussian(), Noise(0, 70, 80)), atol=1e-4)
    assert construct(configuration(sampler)) == sampler


def test_a_given_start_and_kept_states():
    start = torch.full((3, 2), 7.0)
    result = MALA(10, 1e-9).run(gaussian(), Noise(0, 0, 3), start=start, keep=5)
    assert torch.allclose(result.x, start, atol=1e-2)
    assert result.states.shape == (3, 2, 2)
    assert result.energies.shape == (3, 10)
    assert math.isclose(result.acceptance.mean().item(), 1, abs_tol=1e-2)


def test_places_of_infinite_energy_are_never_entered():
    half = Known(lambda x: torch.where(x[:, 0] > 0, -0.5 * x.square().sum(1), -math.inf * torch.ones(len(x))))
    x = HMC(30, 0.5, leaps=3).run(half, Noise(0, 0, 2000), start=torch.ones(2000, 2)).x
    assert bool((x[:, 0] > 0).all())
    assert x[:, 0].mean().item() == pytest.approx(math.sqrt(2 / math.pi), abs=0.04)


def test_bad_settings_and_energies_are_refused():
    with pytest.raises(ValueError, match="steps must be at least 1"):
        MALA(0)
    bare = gaussian()
    del bare.reference
    with pytest.raises(TypeError, match="give the chains a start"):
        MALA(1)(bare, Noise(0, 0, 1))
