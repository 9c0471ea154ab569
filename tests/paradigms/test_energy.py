"""Energies: their gradients, objectives at the truth, chains that persist, classifiers and machines."""

import itertools
import math

import pytest
import torch

from fourfold import checks
from fourfold.core import Batch, Noise, view
from fourfold.data.densities import GaussianMixture as Mixture
from fourfold.distributions.references import Bernoulli, Normal
from fourfold.estimands import Denoiser, Energy, NoisedEnergy, Score
from fourfold.maths.paths import EDM, VP, RectifiedFlow
from fourfold.nn.boltzmann import BoltzmannMachine
from fourfold.nn.reading.labels import LabelReading
from fourfold.nn.resnet import ResMLP
from fourfold.nn.time_mlp import TimeMLP
from fourfold.paradigms import cards
from fourfold.paradigms.denoising_energy import NoisedScoreMatching, PreconditionedEnergy
from fourfold.paradigms.energy import (
    ClassifierEnergy,
    ContrastiveDivergence,
    JointEnergy,
    NoiseContrastive,
    RestrictedBoltzmann,
    Tilted,
)
from fourfold.samplers.langevin import MALA
from fourfold.samplers.monitor import ChainMonitor
from fourfold.spaces import Categories, Text, Vectors
from fourfold.vocabulary import Kind

MIXTURE = Mixture([0.4, 0.6], [[-1.0, 0.0], [1.0, 0.5]], [[[0.3, 0.1], [0.1, 0.2]]] * 2)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def shaken(part, scale=0.05):
    torch.manual_seed(0)
    for p in part.parameters():
        p.data.add_(scale * torch.randn_like(p))
    return part


class Ratio(torch.nn.Module):
    """``log p - log q + log Z`` of a known mixture, times one plus a coefficient that should be zero, and a constant
    likewise.
    """

    def __init__(self, reference, noise=0.0):
        super().__init__()
        self.reference, self.epsilon = reference, torch.nn.Parameter(torch.zeros(2))
        covariances = MIXTURE.covariances + noise**2 * torch.eye(2)
        self.mixture = Mixture(MIXTURE.weights, MIXTURE.means, covariances)

    def forward(self, x, cond=None):
        wrong = self.epsilon[0] + self.epsilon[1] * torch.sin(2 * x).sum(1)
        return (self.mixture.log_prob(x) - self.reference.log_prob(x)).float() + wrong


def known_energy(noise=0.0):
    reference = Normal((2,), 1.5)
    return Tilted(Ratio(reference, noise), (2,), reference)


def slopes(objective, estimand, batches=60, n=256):
    """The loss's derivative in the two coefficients, batch by batch, ``(batches, 2)``."""
    (term,) = objective.terms(estimand).values()
    values = []
    for seed in range(batches):
        torch.manual_seed(seed)
        x, _ = MIXTURE.sample(n, torch.Generator().manual_seed(1000 + seed))
        values.append(torch.autograd.grad(term(Batch(x.float())).mean(), estimand.net.epsilon)[0])
    return torch.stack(values)


def z_values(values):
    return (values.mean(0) / (values.std(0) / math.sqrt(len(values)) + 1e-9)).abs()


# --- objectives -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [1, 4])
def test_noise_contrastive_estimation_is_stationary_at_the_normalised_truth(ratio):
    assert bool((z_values(slopes(NoiseContrastive((2,), ratio), known_energy())) < 4.5).all())


def test_noise_contrastive_estimation_learns_the_normaliser():
    """A constant added to the true log-ratio is a wrong normaliser, and the loss pulls it back."""
    estimand = known_energy()
    estimand.net.epsilon.data[0] = 0.5
    assert slopes(NoiseContrastive((2,), 1), estimand)[:, 0].mean() > 0.02


def test_contrastive_divergence_is_stationary_at_the_truth_and_not_elsewhere():
    objective = ContrastiveDivergence((2,), MALA(5, 0.1), size=2048, restart=0.0)
    objective.x.copy_(MIXTURE.sample(2048, torch.Generator().manual_seed(0))[0])
    objective.ready.fill_(True)
    assert float(z_values(slopes(objective, known_energy()))[1]) < 4.5
    wrong = known_energy()
    wrong.net.epsilon.data[1] = 1.0
    assert float(slopes(objective, wrong, 40)[20:, 1].mean()) > 0.05


def test_score_matching_of_every_level_is_stationary_at_the_true_energies():
    class Truth(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.epsilon = torch.nn.Parameter(torch.zeros(()))

    class Exact(NoisedEnergy):
        event, path, reference = (1,), EDM(0.02, 20.0), Normal((1,), 20.0)

        def __init__(self, variance):
            super().__init__()
            self.net, self.variance = Truth(), variance

        def at(self, x_t, t, cond=None):
            wrong = self.net.epsilon * torch.cos(x_t[:, 0] / (1 + t))
            return 0.5 * x_t[:, 0].square() / (self.variance + t**2) + wrong

    def slope(variance):
        (term,) = NoisedScoreMatching((1,), -0.5, 1.0, 1.0).terms(energy := Exact(variance)).values()
        values = []
        for seed in range(40):
            torch.manual_seed(seed)
            loss = term(Batch(math.sqrt(0.7) * torch.randn(512, 1))).mean()
            values.append(torch.autograd.grad(loss, energy.net.epsilon)[0])
        return z_values(torch.stack(values)[:, None]).item()

    assert slope(0.7) < 4.5
    assert slope(2.0) > 5


@pytest.mark.parametrize("path", [EDM(0.02, 20.0), VP()], ids=lambda p: type(p).__name__)
def test_score_matching_of_every_level_draws_the_relative_noise_it_says_on_any_path(path):
    times = []

    class Recording(NoisedEnergy):
        event, reference = (1,), Normal((1,), 20.0)

        def __init__(self):
            super().__init__()
            self.net, self.path = torch.nn.Linear(1, 1), path

        def at(self, x_t, t, cond=None):
            times.append(t)
            return self.net(x_t)[:, 0]

    (term,) = NoisedScoreMatching((1,), -0.5, 1.0, 1.0).terms(Recording()).values()
    term(Batch(torch.randn(4000, 1)))
    log_noise = -path.log_snr(times[0].double())
    assert log_noise.mean().item() == pytest.approx(-0.5, abs=0.01)
    assert log_noise.std().item() == pytest.approx(1.0, abs=0.02)


def test_an_energy_needs_noise_at_the_first_time_of_its_path():
    with pytest.raises(ValueError, match="t_min must be a time with noise"):
        PreconditionedEnergy(TimeMLP(3, 16, 1), (3,), RectifiedFlow())
    PreconditionedEnergy(TimeMLP(3, 16, 1), (3,), RectifiedFlow(t_min=1e-3))


def test_chains_persist_with_their_conditions_and_are_put_back():
    torch.manual_seed(0)
    objective = ContrastiveDivergence((2,), MALA(2, 0.05), size=8, given=Categories.numbered(2), restart=0.0)
    estimand, cond = known_energy(), torch.tensor([1, 1, 0, -1])
    objective.negatives(estimand, torch.zeros(4, 2), cond)
    assert bool(objective.ready)
    assert objective.cond.tolist() == [1, 1, 0, -1, 1, 1, 0, -1]
    before = objective.x.clone()
    y, acceptance = objective.negatives(estimand, torch.zeros(4, 2), cond.flip(0))
    slots = [int((objective.x == row).all(1).nonzero()[0, 0]) for row in y]
    assert not torch.equal(objective.x, before)
    assert cond.flip(0).tolist() == objective.cond[slots].tolist()
    assert objective.cond.tolist() == [1, 1, 0, -1, 1, 1, 0, -1]
    assert 0 < acceptance <= 1


class Shifted(torch.nn.Module):
    """``log N(x; c, 1/4) - log q(x)`` and two coefficients that should be zero: of a function of ``c``, and of both."""

    def __init__(self, reference):
        super().__init__()
        self.reference, self.epsilon = reference, torch.nn.Parameter(torch.zeros(2))

    def forward(self, x, cond=None):
        cond = torch.zeros_like(x) if cond is None else cond  # chains that monitor mixing have none
        wrong = self.epsilon[0] * torch.sin(cond).sum(1) + self.epsilon[1] * (x * cond).sum(1)
        return -2 * (x - cond).square().sum(1) - self.reference.log_prob(x) + wrong


def test_chains_of_vectors_go_on_from_those_of_conditions_close_by():
    energy = Tilted(Shifted(Normal((2,), 1.5)), (2,), Normal((2,), 1.5))
    objective = ContrastiveDivergence((2,), MALA(10, 0.1), 512, Vectors(2), restart=0.02, label_dropout=0.0)
    (term,) = objective.terms(energy).values()
    slopes, residuals = [], []
    for _ in range(60):
        cond = torch.randn(128, 2)
        x = cond + 0.5 * torch.randn(128, 2)
        slopes.append(torch.autograd.grad(term(Batch(x, cond)).mean(), energy.net.epsilon)[0])
        residuals.append(2 * (objective.negatives(energy, x, cond)[0].detach() - cond))
    of_c, of_both = torch.stack(slopes[20:]).T
    assert of_c.abs().max() < 1e-5  # an energy of the condition alone changes no distribution, and is not learned
    assert of_both.mean().abs() < 5 * of_both.std() / 40**0.5 + 0.02
    y = torch.cat(residuals[20:])
    assert y.mean(0).abs().max() < 0.1
    assert (y.std(0) - 1).abs().max() < 0.1


def test_without_a_buffer_chains_start_at_the_data():
    objective = ContrastiveDivergence((2,), MALA(1, 1e-8), size=0)
    x = torch.randn(5, 2)
    assert torch.allclose(objective.negatives(known_energy(), x, None)[0], x, atol=1e-2)


def test_the_monitor_tells_chains_that_mix_from_chains_that_do_not():
    """A Gaussian mixes; two far wells do not. Before the trace is full, nothing is said."""

    class Wells(Energy):
        event, reference = (1,), Normal((1,), 3.0)

        def __init__(self, distance):
            super().__init__()
            self.distance = distance

        def forward(self, x, cond=None):
            return 0.5 * (x[:, 0].abs() - self.distance).square() * 4

    def watched(distance):
        torch.manual_seed(0)
        monitor = ChainMonitor((1,), MALA(5, 0.2), draws=20, every=2)
        return [float(monitor(Wells(distance))) for _ in range(60)]

    assert math.isnan(watched(0.0)[30])
    assert watched(0.0)[-1] < 1.3
    assert watched(4.0)[-1] > 1.5


# --- estimands --------------------------------------------------------------------------------------------------------


def test_a_preconditioned_energy_has_the_preconditioned_denoiser():
    """D = c_skip x + c_out grad_u <u, F(u)>, with the coefficients of Karras et al. 2022."""
    net = shaken(TimeMLP(3, 16, 1))
    energy = PreconditionedEnergy(net, (3,), EDM(), 0.5)
    x, t = torch.randn(6, 3), torch.linspace(0.1, 3, 6)
    r = torch.sqrt(0.25 + t**2)
    u = (x / r[:, None]).requires_grad_()
    (gradient,) = torch.autograd.grad((u * net(u, t.log() / 4)).sum(), u)
    expected = (0.25 / r**2)[:, None] * x + (t * 0.5 / r)[:, None] * gradient
    assert torch.allclose(view(energy, Denoiser)(x, t), expected, atol=1e-4)
    with torch.no_grad():
        checks.check_views(view(energy, Score), (3,), atol=1e-3)


def test_a_classifier_is_an_energy_of_pairs_and_of_examples():
    energy = ClassifierEnergy(shaken(ResMLP(2, 3, 16, 1)), (2,), Normal((2,)))
    x = torch.randn(10, 2)
    joint = torch.stack([-energy(x, torch.full((10,), y)) for y in range(3)], 1)
    assert torch.allclose(joint.logsumexp(1), -energy(x), atol=1e-5)
    assert torch.allclose(joint.softmax(1), energy.logits(x).softmax(1), atol=1e-5)
    assert torch.allclose(energy(x, torch.full((10,), -1)), energy(x))


def test_a_classifier_learns_labels_it_is_given_and_ignores_unknown_ones():
    energy = ClassifierEnergy(ResMLP(2, 2, 32, 1), (2,), Normal((2,), 2.0))
    term = JointEnergy(ContrastiveDivergence((2,), MALA(2, 0.05), 256), 0.1).terms(energy)["divergence"]
    optimizer = torch.optim.Adam(energy.parameters(), 1e-2)
    torch.manual_seed(0)
    x, k = MIXTURE.sample(512, torch.Generator().manual_seed(0))
    for _ in range(40):
        optimizer.zero_grad()
        term(Batch(x.float(), k)).mean().backward()
        optimizer.step()
    assert float(term.watched["accuracy"]) > 0.9
    unknown = term(Batch(x.float(), torch.full((512,), -1)))
    torch.manual_seed(1)
    alone = term(Batch(x.float()))
    assert unknown.shape == alone.shape
    assert "accuracy" not in term.watched


def test_the_free_energy_of_a_machine_is_the_sum_over_its_hidden_bits():
    net = shaken(BoltzmannMachine(4, 7, LabelReading(2)), 0.5)
    energy = RestrictedBoltzmann(net, (1, 2, 2), Bernoulli((1, 2, 2)))
    v, label = torch.tensor([[1.0, 0, 1, 1]]), torch.tensor([1])
    r = net.reading(label, 1)
    b, c, w = net.visible_bias(r, 1)[0], net.hidden_bias(r, 1)[0], net.weight
    total = [
        (v[0] @ b + h @ c + v[0] @ w @ h)
        for h in (torch.tensor(bits) for bits in itertools.product([0.0, 1.0], repeat=w.shape[1]))
    ]
    free = energy(v.reshape(1, *energy.event), label).item()
    assert free == pytest.approx(-torch.stack(total).logsumexp(0).item(), rel=1e-4)


# --- recipes ----------------------------------------------------------------------------------------------------------


def test_noise_contrastive_training_finds_the_density_and_its_normaliser():
    torch.manual_seed(0)
    model = cards()["energy"].recipes["noise-contrastive"](Vectors(2), "xs")
    x, _ = MIXTURE.sample(4000, torch.Generator().manual_seed(0))
    model.codec.fit(x.float())
    terms = model.terms()
    optimizers = {k: torch.optim.Adam(t.trainable(), 1e-2) for k, t in terms.items()}
    for i in range(250):
        batch = model.encode(x[torch.randint(4000, (256,))].float())
        for name, term in terms.items():
            for group in optimizers[name].param_groups:
                group["lr"] = 1e-2 * (1 - i / 250)
            optimizers[name].zero_grad()
            term(batch).mean().backward()
            optimizers[name].step()
    test, _ = MIXTURE.sample(2000, torch.Generator().manual_seed(1))
    result = model.log_prob(test.float())
    assert result.kind is Kind.UNNORMALISED
    assert (result.nats - MIXTURE.log_prob(test)).mean().item() == pytest.approx(0, abs=0.1)


def test_recipes_refuse_what_they_do_not_model():
    recipes = cards()["energy"].recipes
    for recipe in recipes.values():
        with pytest.raises(TypeError, match="for this recipe, got Text"):
            recipe(Text("ab", 8), "xs")
    with pytest.raises(TypeError, match="space must have classes"):
        recipes["jem"](Vectors(2), "xs")
    with pytest.raises(TypeError, match="must be Images"):
        recipes["rbm"](Vectors(2), "xs")


def test_training_chains_draw_from_the_generator_that_training_seeds():
    torch.manual_seed(3)
    first = Noise.in_training(torch.zeros(4, 2)).normal(2)
    torch.manual_seed(3)
    assert torch.equal(first, Noise.in_training(torch.zeros(4, 2)).normal(2))
    assert not torch.equal(first, Noise(3, 0, 4).normal(2))
