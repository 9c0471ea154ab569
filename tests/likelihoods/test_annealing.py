"""The bracket of log Z on energies whose normaliser is known: a Gaussian, a machine small enough to sum."""

import itertools
import math

import pytest
import torch

from fourfold.core import Noise
from fourfold.data.densities import GaussianMixture as Mixture
from fourfold.data.oracles import MixtureDenoiser
from fourfold.distributions.references import Bernoulli, FittedMixture, Normal
from fourfold.estimands import Energy, NoisedEnergy
from fourfold.likelihoods.annealing import LogZ, bracket_log_z
from fourfold.maths.paths import EDM
from fourfold.nn.boltzmann import BoltzmannMachine
from fourfold.nn.reading.labels import LabelReading
from fourfold.paradigms.energy import RestrictedBoltzmann
from fourfold.samplers.gibbs import BlockGibbs
from fourfold.samplers.langevin import MALA, Langevin

COVARIANCE = torch.tensor([[0.5, 0.3], [0.3, 0.4]])
SHARES, FAR = [0.3, 0.7], [[-4.0, 0.0], [4.0, 1.0]]
LOG_Z = math.log(2 * math.pi) + 0.5 * torch.linalg.slogdet(COVARIANCE)[1].item() - 2.5


class Gaussian(Energy):
    """``x^T C^-1 x / 2 + 2.5``, whose normaliser is ``2 pi sqrt|C| exp(-2.5)``."""

    event = (2,)

    def __init__(self):
        super().__init__()
        self.reference = Normal((2,), 2.0)

    def forward(self, x, cond=None):
        return 0.5 * (x * (x @ torch.linalg.inv(COVARIANCE))).sum(1) + 2.5


class Noised(NoisedEnergy):
    """Two narrow modes far apart under noise; ``log Z = -cos t`` at every level, that of the data's side being asked
    for.
    """

    event, path = (2,), EDM(0.05, 20.0)

    def __init__(self):
        super().__init__()
        self.reference = Normal((2,), 20.0)
        self.oracle = MixtureDenoiser.of(self.path, Mixture(SHARES, FAR, 0.01 * torch.eye(2).expand(2, 2, 2)))

    def at(self, x_t, t, cond=None):
        return (t.double().cos() - self.oracle.log_prob(x_t, t)).to(x_t.dtype)


def machine(bits=6, hidden=5, classes=None):
    torch.manual_seed(0)
    event = (1, 2, bits // 2)
    result = RestrictedBoltzmann(
        BoltzmannMachine(bits, hidden, LabelReading(classes) if classes else None), event, Bernoulli(event)
    )
    for p in result.parameters():
        p.data.add_(0.7 * torch.randn_like(p))
    return result


def everything(bits):
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=bits)))


def exact(energy, cond=None):
    """``log sum_v exp(-F(v))``."""
    v = everything(math.prod(energy.event)).reshape(-1, *energy.event)
    labels = None if cond is None else torch.full((len(v),), cond)
    return (-energy(v, labels).double()).logsumexp(0).item()


@pytest.mark.agreement
@pytest.mark.parametrize("chain", [None, MALA(1, 0.1)], ids=["HMC", "MALA"])
def test_the_bracket_of_a_gaussian_contains_the_truth(chain):
    samples = Noise(5, 0, 400).normal(2) @ torch.linalg.cholesky(COVARIANCE).T
    result = bracket_log_z(Gaussian(), chain, chains=400, temperatures=100, samples=samples)
    low, high = result.interval()
    assert low < LOG_Z < high
    assert high - low < 0.5
    assert result.lower == pytest.approx(LOG_Z, abs=0.15)
    assert "samples given" in result.note


@pytest.mark.agreement
def test_an_energy_of_noised_data_is_annealed_through_its_noise():
    """The geometric bridge from so wide a reference would be off by tens of nats: few chains meet a mode, none a fair
    share.
    """
    energy = Noised()
    variance = 0.01 + energy.path.t_min**2
    noised = Mixture(SHARES, FAR, variance * torch.eye(2).expand(2, 2, 2))
    samples, _ = noised.sample(150, torch.Generator().manual_seed(1))
    result = bracket_log_z(energy, chains=150, temperatures=200, samples=samples.float())
    low, high = result.interval(4)
    assert low < -math.cos(energy.path.t_min) < high
    assert high - low < 2


def test_few_temperatures_give_a_wide_bracket_around_the_truth():
    """Forward weights are below on average, reverse weights above: the two sides never meet by mistake."""
    samples = Noise(5, 0, 200).normal(2) @ torch.linalg.cholesky(COVARIANCE).T
    for seed in range(3):
        rough = bracket_log_z(Gaussian(), MALA(1, 0.01), chains=200, temperatures=3, samples=samples, seed=seed)
        assert rough.interval()[0] < LOG_Z < rough.interval()[1]
        assert rough.lower < rough.upper


def test_without_samples_the_note_says_where_they_came_from():
    result = bracket_log_z(Gaussian(), chains=200, temperatures=80)
    assert "approximate samples by Annealed" in result.note
    assert result.lower == pytest.approx(LOG_Z, abs=0.3)
    assert result.upper == pytest.approx(LOG_Z, abs=0.3)
    assert "200 chains, 80 temperatures" in str(result)


@pytest.mark.parametrize("label", [None, 1])
def test_the_bracket_of_a_small_machine_contains_the_sum(label):
    energy = machine(classes=3 if label else None)
    truth = exact(energy, label)
    cond = None if label is None else torch.tensor(label)
    result = bracket_log_z(energy, chains=200, temperatures=60, cond=cond, sampler=BlockGibbs(60))
    low, high = result.interval()
    assert low < truth < high
    assert high - low < 0.8


def test_a_tempered_machine_begins_at_its_reference():
    energy = machine()
    v = everything(6).reshape(-1, *energy.event)
    assert torch.allclose(energy.tempered(0.0)(v), -energy.reference.log_prob(v), atol=1e-5)
    assert torch.allclose(energy.tempered(1.0)(v), energy(v))
    assert exact(energy.tempered(0.0)) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("b", [0.4, 1.0])
def test_block_gibbs_leaves_the_distribution_as_it_is(b):
    """Started at exact draws of all 64 states by their probability, a step changes no frequency."""
    energy = machine().tempered(b)
    v = everything(6).reshape(-1, *energy.event)
    p = torch.softmax(-energy(v).detach(), 0)
    n = 40_000
    start = v[torch.multinomial(p, n, replacement=True, generator=torch.Generator().manual_seed(0))]
    moved = BlockGibbs(1).run(energy, Noise(0, 0, n), start=start).x
    index = (moved.flatten(1) @ 2.0 ** torch.arange(5, -1, -1)).long()
    frequencies = torch.bincount(index, minlength=64) / n
    assert (frequencies - p).abs().max() < 5 * (p.max() / n).sqrt()
    assert not torch.equal(moved, start)


def test_references_are_normalised_and_draw_what_they_say():
    torch.manual_seed(1)
    mixture = FittedMixture(2, 3)
    for p in mixture.parameters():
        p.data.add_(0.4 * torch.randn_like(p))
    axis = torch.linspace(-12, 12, 400)
    mass = mixture.log_prob(torch.cartesian_prod(axis, axis)).exp().sum() * (axis[1] - axis[0]) ** 2
    assert mass.item() == pytest.approx(1, abs=1e-3)
    x = mixture.draw(Noise(0, 0, 20_000))
    entropy = -mixture.log_prob(x).mean().item()
    grid = torch.cartesian_prod(axis, axis)
    log_q = mixture.log_prob(grid)
    truth = -(log_q.exp() * log_q).sum().item() * (axis[1] - axis[0]).item() ** 2
    assert entropy == pytest.approx(truth, abs=0.03)
    bits = Bernoulli((6,))
    bits.logits.data.normal_()
    assert bits.log_prob(everything(6)).logsumexp(0).item() == pytest.approx(0, abs=1e-5)
    assert torch.allclose(bits.draw(Noise(0, 0, 20_000)).mean(0), torch.sigmoid(bits.logits), atol=0.02)


@pytest.mark.parametrize(
    ("energy", "chain", "way_out"),
    [
        (Gaussian(), Langevin(1, 0.3), "a kernel with a Metropolis rule, such as HMC or MALA"),
        (Gaussian(), BlockGibbs(1), "a kernel with a Metropolis rule"),
        (machine(), MALA(1, 0.1), r"BlockGibbs\(1\)"),
    ],
    ids=["unadjusted", "blocks of reals", "gradients of bits"],
)
def test_moves_that_do_not_leave_the_bridges_invariant_are_refused(energy, chain, way_out):
    with pytest.raises(TypeError, match=f"chain must leave .* got {type(chain).__name__}: give {way_out}"):
        bracket_log_z(energy, chain)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="3 samples and 8 chains"):
        bracket_log_z(Gaussian(), chains=8, samples=torch.zeros(3, 2))
    with pytest.raises(TypeError, match="Bipartite"):
        BlockGibbs(1).run(Gaussian(), Noise(0, 0, 1))
    assert LogZ(1.0, 2.0, 0.1, 0.2, 8, 9).interval(2) == (0.8, 2.4)
