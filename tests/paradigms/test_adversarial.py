"""The game against closed forms: a quadratic critic, an affine generator, Gaussian data."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from fourfold.core import Batch, GenerativeModel, Noise, Part
from fourfold.estimands import Pushforward
from fourfold.nn.resnet import ResNetCritic
from fourfold.paradigms.adversarial import CARD, NoDensity, OnePass, RelativisticPairing, gradient_penalty
from fourfold.spaces import Images, Text, Vectors
from fourfold.vocabulary import Kind, Paradigm

build = CARD.recipes["pairing"]


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


class Quadratic(Part, nn.Module):
    """D(x) = x^T A x / 2 + b x."""

    def __init__(self, dim: int, scale: float = 1.0) -> None:
        super().__init__()
        self.A = nn.Parameter(scale * torch.randn(dim, dim))
        self.b = nn.Parameter(scale * torch.randn(dim))

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        return (x @ self.A * x).sum(1) / 2 + x @ self.b


class Affine(Pushforward):
    """x = scale * z + shift."""

    def __init__(self, dim: int, scale: float = 1.0) -> None:
        super().__init__()
        self.event = self.latent = (dim,)
        self.scale, self.shift = nn.Parameter(torch.full((dim,), scale)), nn.Parameter(torch.zeros(dim))

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.scale * z + self.shift


def test_penalty_is_the_squared_gradient_and_its_own_gradient_is_right():
    critic, x = Quadratic(3), torch.randn(5, 3)
    S = (critic.A + critic.A.T) / 2
    residue = x @ S + critic.b
    penalty = gradient_penalty(critic, x)
    torch.testing.assert_close(penalty, residue.square().sum(1))
    gradients = torch.autograd.grad(penalty.sum(), [critic.A, critic.b])
    expected = torch.autograd.grad(residue.square().sum(), [critic.A, critic.b])
    torch.testing.assert_close(gradients, expected)


def test_penalty_works_where_gradients_are_off():
    with torch.no_grad():
        assert gradient_penalty(Quadratic(3), torch.randn(5, 3)).isfinite().all()


def test_exact_double_backward_through_a_convolutional_critic():
    critic = ResNetCritic((1, 8, 8), 4, 1, 8).double()
    for parameter in critic.parameters():
        nn.init.normal_(parameter, std=0.3)
    x = torch.randn(2, 1, 8, 8, dtype=torch.double)
    gradient = torch.autograd.grad(gradient_penalty(critic, x).sum(), list(critic.parameters()), allow_unused=True)
    weight, h = critic.trunk.stem.weight, 1e-4
    for index in ((0, 0, 1, 1), (2, 0, 0, 2)):
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                weight[index] += sign * h
                values.append(gradient_penalty(critic, x).sum().item())
                weight[index] -= sign * h
        slope = (values[0] - values[1]) / (2 * h)
        assert slope == pytest.approx(gradient[0][index].item(), rel=0.02, abs=1e-3)


def test_losses_are_the_papers():
    critic, generator, x = Quadratic(3), Affine(3, 0.5), torch.randn(7, 3)
    terms = RelativisticPairing(critic, gamma=0.6).terms(generator)
    for name, sign in (("critic", 1), ("generator", -1)):
        torch.manual_seed(1)
        loss = terms[name](Batch(x))
        torch.manual_seed(1)
        fake = generator(torch.randn(7, 3))
        expected = functional.softplus(sign * (critic(fake) - critic(x)))
        if name == "critic":
            expected = expected + 0.3 * (gradient_penalty(critic, x) + gradient_penalty(critic, fake))
        torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize(("batch", "every"), [(12, 3), (13, 4), (5, 8)])
def test_sparse_penalties_keep_the_weight(batch, every):
    critic, generator = Quadratic(2, 0.0), Affine(2)
    with torch.no_grad():
        critic.b.copy_(torch.tensor([1.0, 2.0]))
    loss = RelativisticPairing(critic, 2.0, every).terms(generator)["critic"]
    loss.watched.clear()
    loss(Batch(torch.randn(batch, 2)))
    assert loss.watched["penalty"].item() == pytest.approx(2 * 5.0)


def test_each_term_moves_its_own_network_and_only_that():
    model = build(Images(1, 8, 8, levels=17, classes=3), "xs")
    batch = model.encode(torch.randint(0, 17, (8, 1, 8, 8), dtype=torch.uint8), torch.arange(8) % 3)
    parts = {"critic": model.objective.critic, "generator": model.estimand}
    for name, term in model.terms().items():
        assert {id(p) for p in term.trainable()} == {id(p) for p in parts[name].parameters()}
        model.zero_grad()
        loss = term(batch)
        assert loss.shape == (8,)
        loss.mean().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in term.trainable())
        if name == "critic":
            assert all(p.grad is None for p in model.estimand.parameters())


def test_the_game_rests_where_samples_are_data():
    n = 200_000
    critic, truth, narrow = Quadratic(2, 0.0), Affine(2), Affine(2, 0.5)

    def pull(generator):
        loss = RelativisticPairing(critic, gamma=0.0).terms(generator)["critic"](Batch(torch.randn(n, 2)))
        return torch.autograd.grad(loss.mean(), critic.A)[0].abs().max().item()

    error = 1 / math.sqrt(n)
    assert pull(truth) < 4 * error
    assert pull(narrow) > 40 * error
    loss = RelativisticPairing(critic, gamma=0.0).terms(truth)["generator"](Batch(torch.randn(64, 2)))
    assert all(g.abs().max() == 0 for g in torch.autograd.grad(loss.mean(), [truth.scale, truth.shift]))


def test_a_short_game_finds_mean_and_scale():
    generator, objective = Affine(1, 0.2), RelativisticPairing(Quadratic(1, 0.1), gamma=0.2)
    terms = objective.terms(generator)
    optimizers = {name: torch.optim.Adam(term.trainable(), 2e-2, (0.0, 0.99)) for name, term in terms.items()}
    for _ in range(600):
        batch = Batch(2 + 0.7 * torch.randn(256, 1))
        for name, term in terms.items():
            optimizers[name].zero_grad()
            term(batch).mean().backward()
            optimizers[name].step()
    assert generator.shift.item() == pytest.approx(2, abs=0.25)
    assert abs(generator.scale.item()) == pytest.approx(0.7, abs=0.2)


def test_monitors_tell_a_collapsed_generator():
    term = RelativisticPairing(Quadratic(2)).terms(Affine(2, 0.01))["generator"]
    term(Batch(torch.randn(256, 2)))
    assert term.watched["diversity"] == pytest.approx(0.01, rel=0.2)


@pytest.mark.parametrize(
    "space", [Vectors(3, classes=2), Images(2, 9, 8, levels=5, classes=2), Vectors(1), Images(1, 16, 16)]
)
@pytest.mark.parametrize("size", ["xs", "s"])
def test_presets(space, size):
    model = build(space, size)
    assert model.paradigm is Paradigm.ADVERSARIAL
    samples = model.sample(5, seed=1)
    space.check(samples)
    torch.testing.assert_close(samples[3:], model.sample(2, seed=1, start=3))
    score = model.log_prob(samples)
    assert score.kind is Kind.NONE
    assert score.nats.isnan().all()
    assert "instead" in score.note
    again = GenerativeModel.from_configuration(model.configuration())
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again.sample(2), model.sample(2))


def test_labels_condition_samples():
    model = build(Vectors(3, classes=2), "xs")
    assert not torch.allclose(model.sample(4, cond=0), model.sample(4, cond=1))


def test_truncation_shrinks_the_noise():
    noise = [Noise(0, 0, 8) for _ in range(2)]
    torch.testing.assert_close(OnePass(0.5)(Affine(2), noise[0]), 0.5 * noise[1].normal(2))


def test_refusals():
    with pytest.raises(TypeError, match="Text"):
        build(Text(), "s")
    with pytest.raises(ValueError, match="gamma"):
        RelativisticPairing(Quadratic(1), every=0)
    assert NoDensity().needs is Pushforward
