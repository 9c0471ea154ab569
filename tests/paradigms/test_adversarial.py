"""The game against closed forms: a quadratic critic, an affine generator, Gaussian data."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from fourfold.core import Batch, GenerativeModel, Noise, Part
from fourfold.estimands import Pushforward
from fourfold.nn.augment import Augment
from fourfold.nn.resnet import ResNetCritic
from fourfold.paradigms import cards
from fourfold.paradigms.adversarial import (
    AdversarialGame,
    Hinge,
    NonSaturating,
    OnePass,
    Pairing,
    UnitNorm,
    Wasserstein,
    ZeroCentred,
    gradient_penalty,
)
from fourfold.paradigms.stylegan import PathLength, StyleTruncation, path_lengths
from fourfold.spaces import Categories, Images, Text, Vectors
from fourfold.vocabulary import Kind, Paradigm

CARD = cards()["adversarial"]
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
    terms = AdversarialGame(critic, penalty=ZeroCentred(0.6)).terms(generator)
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
    loss = AdversarialGame(critic, penalty=ZeroCentred(2.0), every=every).terms(generator)["critic"]
    loss.watched.clear()
    loss(Batch(torch.randn(batch, 2)))
    assert loss.watched["penalty"].item() == pytest.approx(2 * 5.0)


def test_each_term_moves_its_own_network_and_only_that():
    model = build(Images(1, 8, 8, n_values=17, given=Categories.numbered(3)), "xs")
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
        loss = AdversarialGame(critic, penalty=None).terms(generator)["critic"](Batch(torch.randn(n, 2)))
        return torch.autograd.grad(loss.mean(), critic.A)[0].abs().max().item()

    error = 1 / math.sqrt(n)
    assert pull(truth) < 4 * error
    assert pull(narrow) > 40 * error
    loss = AdversarialGame(critic, penalty=None).terms(truth)["generator"](Batch(torch.randn(64, 2)))
    assert all(g.abs().max() == 0 for g in torch.autograd.grad(loss.mean(), [truth.scale, truth.shift]))


def test_a_short_game_finds_mean_and_scale():
    generator, objective = Affine(1, 0.2), AdversarialGame(Quadratic(1, 0.1), penalty=ZeroCentred(0.2))
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
    term = AdversarialGame(Quadratic(2)).terms(Affine(2, 0.01))["generator"]
    term(Batch(torch.randn(256, 2)))
    assert term.watched["diversity"] == pytest.approx(0.01, rel=0.2)


@pytest.mark.parametrize(
    "space",
    [
        Vectors(3, given=Categories.numbered(2)),
        Images(2, 9, 8, n_values=5, given=Categories.numbered(2)),
        Vectors(1),
        Images(1, 16, 16),
    ],
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
    model = build(Vectors(3, given=Categories.numbered(2)), "xs")
    assert not torch.allclose(model.sample(4, cond=0), model.sample(4, cond=1))


def test_truncation_shrinks_the_noise():
    noise = [Noise(0, 0, 8) for _ in range(2)]
    torch.testing.assert_close(OnePass(0.5)(Affine(2), noise[0]), 0.5 * noise[1].normal(2))


def test_refusals():
    with pytest.raises(TypeError, match="Text"):
        build(Text(), "s")
    with pytest.raises(ValueError, match="every"):
        AdversarialGame(Quadratic(1), every=0)
    with pytest.raises(TypeError, match="StyleGenerator"):
        AdversarialGame(Quadratic(2), regulariser=PathLength()).terms(Affine(2))
    with pytest.raises(TypeError, match="must be Images for this recipe, got"):
        CARD.recipes["stylegan2"](Vectors(2), "xs")
    assert build(Vectors(2), "xs").likelihood.kind is Kind.NONE


# --- contests and penalties -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("contest", [Pairing(), NonSaturating(), Hinge(), Wasserstein(0.0)])
def test_a_contest_favours_the_critic_that_ranks_and_the_generator_that_fools(contest):
    low, high = torch.zeros(3), torch.ones(3)
    assert (contest.critic(high, low) < contest.critic(low, high)).all()
    assert (contest.generator(low, high) < contest.generator(high, low)).all()


@pytest.mark.parametrize("cond", [None, torch.tensor([0, 1, 1])])
@pytest.mark.parametrize("contest", [Pairing(), NonSaturating(), Hinge(), Wasserstein()])
def test_only_a_paired_contest_shows_data_to_the_critic_in_the_generator_s_turn(contest, cond):
    class Sum(Part, nn.Module):
        def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
            rows.append(len(x))
            return x.sum(1) + (0 if cond is None else cond)

    rows: list[int] = []
    x, fake, given = torch.randn(3, 2), torch.randn(3, 2), 0 if cond is None else cond
    loss = AdversarialGame(Sum(), contest).generator_loss(x, fake, cond)
    torch.testing.assert_close(loss, contest.generator(x.sum(1) + given, fake.sum(1) + given))
    assert rows == [6 if contest.paired else 3]


def test_optimal_critic_of_the_non_saturating_game_is_the_log_ratio():
    """At ``D = log p - log q`` the critic's expected loss is stationary, and equals ``2 log 2 - 2 JS`` (Goodfellow
    2014).
    """
    p, q = torch.tensor([0.6, 0.3, 0.1]), torch.tensor([0.2, 0.3, 0.5])
    d = (p.log() - q.log()).requires_grad_()
    zeros = torch.full_like(d, -1e4)
    loss = (p * NonSaturating().critic(d, zeros)).sum() + (q * NonSaturating().critic(-zeros, d)).sum()
    (gradient,) = torch.autograd.grad(loss, d)
    assert gradient.abs().max() < 1e-6
    m = (p + q) / 2
    js = ((p * (p / m).log()).sum() + (q * (q / m).log()).sum()) / 2
    assert loss.item() == pytest.approx((2 * math.log(2) - 2 * js).item(), rel=1e-5)


def test_hinge_critic_is_indifferent_beyond_the_margin_only():
    real = torch.tensor([0.5, 1.5], requires_grad=True)
    (slope,) = torch.autograd.grad(Hinge().critic(real, torch.full((2,), -2.0)).sum(), real)
    assert slope.tolist() == [-1, 0]


def test_a_wasserstein_critic_is_not_called_saturated():
    """Its slope stays 1 where it ranks every pair correctly, so the share of correct ranks tells nothing."""
    for contest in (Pairing(), Wasserstein()):
        term = AdversarialGame(Quadratic(2), contest).terms(Affine(2))["critic"]
        term(Batch(torch.randn(4, 2)))
        assert ("critic_accuracy" in term.watched) == contest.saturates == isinstance(contest, Pairing)


def test_wasserstein_gap_of_the_optimal_critic_is_the_distance():
    """Point masses at 0 and 3: ``D(x) = -x`` has slope one, its gap is 3, and the unit-norm penalty is 0."""

    class Line(Part, nn.Module):
        def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
            return -x[:, 0]

    x, fake = torch.zeros(8, 1), torch.full((8, 1), 3.0)
    gap = -Wasserstein(0.0).critic(Line()(x), Line()(fake))
    torch.testing.assert_close(gap, torch.full((8,), 3.0))
    assert UnitNorm()(Line(), x, fake, None).max() < 1e-9


def test_unit_norm_is_the_paper_s_on_a_quadratic_critic():
    critic, x, fake = Quadratic(3), torch.randn(5, 3), torch.randn(5, 3)
    torch.manual_seed(3)
    penalty = UnitNorm(7.0)(critic, x, fake, None)
    torch.manual_seed(3)
    u = torch.rand(5, 1)
    between = u * x + (1 - u) * fake
    slope = between @ (critic.A + critic.A.T) / 2 + critic.b
    torch.testing.assert_close(penalty, 7 * (slope.norm(dim=1) - 1) ** 2)


def test_r1_alone_leaves_the_samples_out():
    critic, x = Quadratic(2), torch.randn(4, 2)
    penalty = ZeroCentred(2.0, samples=False)(critic, x, torch.full((4, 2), torch.nan), None)
    torch.testing.assert_close(penalty, gradient_penalty(critic, x))


def test_two_time_scales():
    assert AdversarialGame(Quadratic(2), critic_rate=3.0).terms(Affine(2))["critic"].rate == 3.0


# --- StyleGAN2 --------------------------------------------------------------------------------------------------------


def test_a_regulariser_refuses_a_generator_it_does_not_know():
    with pytest.raises(TypeError, match="must be a StyleGenerator for PathLength, got Affine"):
        AdversarialGame(Quadratic(2), regulariser=PathLength()).terms(Affine(2))


def style_model(**options):
    return CARD.recipes["stylegan2"](Images(3, 16, 16, **options), "xs")


def test_path_length_is_the_norm_of_the_transposed_jacobian_s_product():
    generator = style_model().estimand.eval()
    z = torch.randn(2, *generator.latent)
    torch.manual_seed(5)
    lengths = path_lengths(generator, z)
    w = generator.net.styles(z).detach()
    torch.manual_seed(5)
    y = torch.randn(2, 3, 16, 16) / 16
    jacobian = torch.autograd.functional.jacobian(lambda v: generator.net.synthesis(v, z), w)  # (2, 3, 16, 16, 2, l, s)
    for i in range(2):
        product = torch.einsum("chw,chwls->ls", y[i], jacobian[i, :, :, :, i])
        torch.testing.assert_close(lengths[i], product.square().sum(1).mean().sqrt(), rtol=1e-3, atol=1e-6)


def test_path_length_penalty_follows_the_running_mean():
    generator, regulariser = style_model().estimand, PathLength(decay=0.5)
    z = torch.randn(8, *generator.latent)
    for _ in range(3):
        regulariser(generator, z, None)
    lengths = path_lengths(generator, z)
    assert 0 < regulariser.length.item() < 1.5 * lengths.mean().item()


def test_truncation_leads_to_the_image_of_the_mean_style():
    model = style_model()
    net = model.estimand.net
    net.train()
    for _ in range(20):
        net.styles(torch.randn(64, net.inputs))
    net.eval()
    noise = Noise(0, 0, 4)
    images = StyleTruncation(0.0)(model.estimand, noise)
    z = Noise(0, 0, 4).normal(net.inputs)
    expected = net.synthesis(net.mean.expand(4, net.layers, -1), z)
    torch.testing.assert_close(images, expected.clamp(-1, 1) + 0.1 * (expected - expected.clamp(-1, 1)))
    assert torch.equal(StyleTruncation(1.0)(model.estimand, Noise(0, 0, 4)), model.estimand(z))


def test_adaptive_augmentation_follows_the_critic():
    augment = Augment(images=100)
    for _ in range(4):
        augment.adapt(torch.ones(10))
    assert augment.p.item() == pytest.approx(0.4)
    augment.adapt(torch.zeros(10))
    assert augment.p.item() == pytest.approx(0.3)
    for _ in range(20):
        augment.adapt(torch.ones(10))
    assert augment.p.item() == pytest.approx(0.8)
