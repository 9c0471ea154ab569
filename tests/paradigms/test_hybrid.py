"""Hybrids: the end-to-end bound against exact linear-Gaussian answers, codecs against their definitions, one run
folder.
"""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from fourfold import checks
from fourfold.cards.hybrid import CARDS
from fourfold.codecs import LearnedCodec, QuantisedCodec, Standardised
from fourfold.core import Batch, GenerativeModel, Likelihood, LogProb, Noise, Objective, Part
from fourfold.data import load
from fourfold.distributions.observations import AsDraw, AsMedian, GaussianHead, Gaussians
from fourfold.engine import Run, fit, save_model
from fourfold.estimands import Decoder
from fourfold.likelihoods import NoDensity, ProbabilityFlow
from fourfold.paradigms import build, hybrid
from fourfold.paradigms.adversarial import OnePass
from fourfold.paradigms.latent import CodeDecoder, Elbo, PriorThenDecode, VariationalBound
from fourfold.spaces import Categories, Images, Vectors
from fourfold.vocabulary import Kind

HYBRIDS = ("latent-diffusion", "latent-autoregressive", "latent-flow", "adversarial-student")


@pytest.fixture(autouse=True)
def _toys_are_third_parties(monkeypatch):
    monkeypatch.setattr("fourfold.core.parts.packages", lambda: {__name__.partition(".")[0]})


# --- a linear-Gaussian autoencoder: x = A u + noise, u ~ N(m, diag(s^2)), with the exact posterior
# ----------------------

A = torch.tensor([[1.0, 0.3], [-0.5, 0.8]])
NOISE, PRIOR_MEAN, PRIOR_SCALE = 0.4, torch.tensor([0.5, -1.0]), torch.tensor([1.5, 0.7])


class Affine(Part, nn.Module):
    """``x -> x W^T + b``, then constants: what a Gaussian head or a posterior reads."""

    def __init__(self, weight: tuple, bias: tuple, constant: tuple) -> None:
        super().__init__()
        self.register_buffer("weight", torch.tensor(weight))
        self.register_buffer("bias", torch.tensor(bias))
        self.register_buffer("constant", torch.tensor(constant))
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        mean = x @ self.weight.T + self.bias
        return self.scale * torch.cat([mean, self.constant.expand(len(x), -1)], 1)


def head_input(scale: float) -> float:
    """What :class:`GaussianHead` turns into a scale."""
    return math.log(math.expm1(scale - GaussianHead().floor))


def posterior_input(log_scale: Tensor) -> Tensor:
    """What the posterior's squashing turns into a log-scale."""
    return 4.5 * torch.atanh((log_scale + 2.5) / 4.5)


def autoencoder(spread: float = 1.0) -> GenerativeModel:
    """With the independent Gaussian that is nearest to the posterior, its scales times ``spread``, in diagonal cases
    exact.
    """
    precision = A.T @ A / NOISE**2 + torch.diag(PRIOR_SCALE**-2)
    covariance = torch.linalg.inv(precision)
    gain = covariance @ A.T / NOISE**2
    bias = covariance @ (PRIOR_MEAN / PRIOR_SCALE**2)
    scales = precision.diagonal().rsqrt() * spread
    encoder = Affine(gain.tolist(), bias.tolist(), posterior_input(scales.log()).tolist())
    net = Affine(A.tolist(), (0.0, 0.0), (head_input(NOISE),) * 2)
    space = Vectors(2)
    decoder = CodeDecoder(net, GaussianHead(), (2,), 2)
    return GenerativeModel(space, Standardised(space), decoder, VariationalBound(encoder), PriorThenDecode(), Elbo())


def exact(x: Tensor) -> Tensor:
    covariance = A @ torch.diag(PRIOR_SCALE**2) @ A.T + NOISE**2 * torch.eye(2)
    return torch.distributions.MultivariateNormal(A @ PRIOR_MEAN, covariance).log_prob(x)


class Normal(Decoder):
    """The true prior of the standardised codes, in the seat of whatever models them."""

    def __init__(self, mean: tuple, scale: tuple) -> None:
        super().__init__()
        self.mean, self.scale, self.event, self.latent = mean, scale, (2,), (2,)

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Gaussians:
        raise NotImplementedError


@dataclass(frozen=True)
class Known(Likelihood):
    needs = Normal
    kind: Kind = Kind.EXACT

    def __call__(self, estimand: Normal, batch: Batch, noise: Noise, objective: Objective) -> LogProb:
        p = torch.distributions.Normal(torch.tensor(estimand.mean), torch.tensor(estimand.scale))
        return LogProb(p.log_prob(batch.x).sum(1), self.kind, note="known")


class Bound(Objective):
    learns = Decoder
    principle = VariationalBound.principle

    def terms(self, estimand):
        return {}


def hybrid_model(spread: float = 1.0, kind: Kind = Kind.EXACT) -> GenerativeModel:
    codec = LearnedCodec(autoencoder(spread))
    codec.mean.copy_(torch.tensor([0.2, -0.7]))
    codec.scale.copy_(torch.tensor([1.3, 0.6]))
    prior = Normal(((PRIOR_MEAN - codec.mean) / codec.scale).tolist(), (PRIOR_SCALE / codec.scale).tolist())
    return GenerativeModel(Vectors(2), codec, prior, Bound(), PriorThenDecode(), Known(kind))


def draws(n: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    u = PRIOR_MEAN + PRIOR_SCALE * torch.randn(n, 2, generator=generator)
    return u @ A.T + NOISE * torch.randn(n, 2, generator=generator)


def gap(spread: float) -> float:
    """``KL(q || posterior)`` of the independent Gaussian with the posterior's mean and ``spread`` times those
    scales.
    """
    precision = A.T @ A / NOISE**2 + torch.diag(PRIOR_SCALE**-2)
    q = torch.diag(spread**2 / precision.diagonal())
    return float((torch.trace(precision @ q) - 2 - torch.logdet(precision @ q)) / 2)


@pytest.mark.parametrize("spread", [1.0, 0.5, 2.0])
def test_the_end_to_end_bound_is_the_exact_answer_less_the_divergence_of_the_posterior(spread):
    model, x = hybrid_model(spread), draws(4000)
    result = model.log_prob(x)
    assert result.kind is Kind.LOWER_BOUND
    assert "a lower bound on log p(x)" in result.note
    difference = result.nats - exact(x)
    error = float(difference.std()) / math.sqrt(len(x))
    assert float(difference.mean()) == pytest.approx(-gap(spread), abs=4 * error)
    assert float(difference.mean()) < 4 * error
    checks.check_known_density(model, x, exact(x), bias=0.0)


def test_the_bound_is_equal_for_every_example_where_the_posterior_is_exact(monkeypatch):
    monkeypatch.setitem(globals(), "A", torch.diag(torch.tensor([1.1, -0.6])))
    x = draws(50)
    torch.testing.assert_close(hybrid_model().log_prob(x).nats, exact(x), atol=2e-4, rtol=1e-5)


def test_an_estimate_behind_a_codec_is_one_of_a_bound_and_says_so():
    result = hybrid_model(kind=Kind.ESTIMATE).log_prob(draws(2))
    assert result.kind is Kind.ESTIMATED_BOUND
    assert "bound" in result.note


def test_codes_have_mean_0_and_variance_1_once_the_codec_is_fitted():
    torch.manual_seed(1)  # not the seed of the draws: the noise of the codes must not be theirs
    codec, x = LearnedCodec(autoencoder()), draws(6000)
    codec.fit(x)
    z = codec.draw(codec.analyse(x))
    torch.testing.assert_close(z.mean(0), torch.zeros(2), atol=0.05, rtol=0)
    torch.testing.assert_close(z.std(0), torch.ones(2), atol=0.05, rtol=0)


def test_drawing_from_what_is_kept_is_encoding():
    codec, x = LearnedCodec(autoencoder()), draws(5)
    codec.fit(draws(500))
    stored = codec.analyse(x)
    torch.manual_seed(0)
    drawn = codec.draw(stored)
    torch.manual_seed(0)
    torch.testing.assert_close(drawn, codec.encode(x)[0])


def test_decoding_draws_what_the_autoencoder_draws():
    codec = LearnedCodec(autoencoder())
    z = torch.zeros(2000, 2)
    assert codec.decode(z).std(0).max() < 1e-5  # the mean, without noise
    spread = codec.decode(z, Noise(0, 0, 2000)).std(0)
    torch.testing.assert_close(spread, torch.full((2,), NOISE), atol=0.03, rtol=0)


def test_quantised_codes_are_tokens_with_the_mass_of_what_they_decode_to():
    images = Images(1, 8, 8, n_values=17)
    model = build("latent-autoregressive", images, "xs")
    codec = model.codec
    assert isinstance(codec, QuantisedCodec)
    x = torch.randint(17, (3, 1, 8, 8)).to(torch.uint8)
    z, log_mass = codec.encode(x)
    assert z.shape == (3, 16)
    assert torch.equal(z, codec.draw(codec.analyse(x)))
    held = codec.autoencoder
    expected = held.estimand.decode(z.view(3, 4, 4)).log_prob(held.codec.encode(x)[0])
    torch.testing.assert_close(log_mass, expected)
    assert (log_mass < 0).all()


def test_a_label_is_the_start_symbol_of_a_sequence_of_codes():
    model = build("latent-autoregressive", Images(1, 8, 8, n_values=17, given=Categories.numbered(3)), "xs")
    for p in model.estimand.parameters():
        p.data.add_(0.1 * torch.randn_like(p))
    z = torch.randint(25, (4, 16))
    of = [model.estimand(z, torch.full((4,), c)) for c in (-1, 0, 2)]
    torch.testing.assert_close(of[0], model.estimand(z))
    assert not torch.allclose(of[0], of[1])
    assert not torch.allclose(of[1], of[2])


def test_a_model_without_an_encoder_is_no_codec():
    with pytest.raises(TypeError, match="codec must be an objective with an encoder"):
        LearnedCodec(build("adversarial", Vectors(2), "xs"))
    with pytest.raises(TypeError, match="codec must be an objective with an encoder"):
        QuantisedCodec(autoencoder(), (1, 1))


# --- the student ------------------------------------------------------------------------------------------------------


def test_a_student_begins_as_its_teacher_at_one_noise_level():
    model = build("adversarial-student", Vectors(2), "xs")
    teacher = model.objective.teacher.estimand
    for p in teacher.parameters():
        p.data.add_(0.1 * torch.randn_like(p))
    model.objective.ready(model.estimand)
    z = torch.randn(5, 2)
    t = torch.full((5,), model.estimand.t)
    sigma = 1.5  # of vectors
    assert float(teacher.path.sigma(t[0]) / teacher.path.alpha(t[0])) == pytest.approx(sigma, rel=1e-4)
    torch.testing.assert_close(model.estimand(z), teacher(sigma * z, t))


def test_the_correction_is_zero_where_samples_are_what_the_teacher_expects():
    model = build("adversarial-student", Vectors(2), "xs")
    term = model.terms()["generator"]
    teacher = model.objective.teacher.estimand

    class Constant(type(teacher)):
        def forward(self, x_t, t, cond=None):
            return torch.full_like(x_t, 0.7)

    teacher.__class__ = Constant
    fake = torch.full((6, 2), 0.7, requires_grad=True)
    assert float(term._correction(fake, None).detach().abs().max()) < 1e-10
    (slope,) = torch.autograd.grad(term._correction(fake + 0.1, None).sum(), fake)
    assert (slope > 0).all()


# --- one command ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["latent-diffusion", "latent-autoregressive"])
def test_one_command_trains_every_stage_into_one_folder(name, tmp_path):
    data = load("digits", limit=200)
    run = fit(name, data, budget="6 steps", size="xs", out=tmp_path)
    stages = run.card["stages"]
    assert sum(s["steps"] for s in stages) == run.card["steps"] == 6
    assert sum(s["share"] for s in stages) == pytest.approx(1)
    assert (tmp_path / "stages" / stages[0]["name"] / "weights.safetensors").exists()
    loaded = Run.load(tmp_path)
    assert torch.equal(loaded.sample(3), run.sample(3))
    x = data.test.x[:4]
    assert torch.equal(loaded.log_prob(x).nats, run.log_prob(x).nats)


def test_codes_of_the_training_data_are_encoded_once():
    from fourfold.engine.training import begin

    data = load("digits", limit=200)
    for name in ("latent-diffusion", "latent-autoregressive"):
        model = build(name, data.space, "xs")
        loop = begin(model, data, model.training_defaults)
        assert loop.encoded
        assert len(loop.batches.split) == len(data.train)


def test_where_encoding_all_takes_too_long_batches_are_encoded_one_by_one():
    from fourfold.engine.training import begin

    data = load("digits", limit=200)
    losses = []
    for patience in (math.inf, 0.0):
        torch.manual_seed(0)
        model = build("latent-diffusion", data.space, "xs")
        loop = begin(model, data, model.training_defaults, patience=patience)
        assert loop.encoded == (patience > 0)
        losses.append([loop.step(0.1).losses["denoising"] for _ in range(3)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_the_weights_of_a_stage_are_written_once(tmp_path):
    model = build("latent-diffusion", Images(1, 8, 8, n_values=17), "xs")
    save_model(model, tmp_path)
    numbers = sum(p.numel() for p in model.parameters())
    assert (tmp_path / "weights.safetensors").stat().st_size < 4 * numbers + 40_000


def test_hybrids_are_cards_of_this_file():
    assert {card.name for card in CARDS} == {*HYBRIDS}


def test_behind_puts_a_paradigm_behind_any_codec():
    codec = LearnedCodec(autoencoder())
    step = build("diffusion", Vectors(2), "xs")
    model = hybrid.behind(codec, step, Vectors(2))
    assert isinstance(model.likelihood, ProbabilityFlow)
    assert model.log_prob(draws(3)).kind is Kind.ESTIMATED_BOUND
    assert model.sample(4).shape == (4, 2)
    game = hybrid.behind(codec, build("adversarial", Vectors(2), "xs"), Vectors(2))
    assert isinstance(game.sampler, OnePass)
    assert isinstance(game.likelihood, NoDensity)
    assert game.log_prob(draws(3)).kind is Kind.NONE


def test_hybrids_refuse_what_they_do_not_model():
    with pytest.raises(TypeError, match="use latent-flow for vectors"):
        build("latent-diffusion", Vectors(2), "xs")
    assert isinstance(build("latent-flow", Vectors(2), "xs").codec.autoencoder.sampler.observe, AsDraw)
    images = build("latent-diffusion", Images(1, 8, 8), "xs")
    assert isinstance(images.codec.autoencoder.sampler.observe, AsMedian)
