"""Bounds against exact likelihoods; masses that sum to 1; means, medians and draws that agree with them."""

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn

from fourfold.core import Batch, GenerativeModel, Noise, Part
from fourfold.distributions.observations import (
    AsDraw,
    AsMean,
    AsMedian,
    DiscretisedLogistics,
    GaussianHead,
    Gaussians,
    Head,
    LogisticHead,
)
from fourfold.engine.training import begin
from fourfold.nn.coupling import Couplings
from fourfold.nn.prior import IndependentCodes, IndependentGaussians, Mixture
from fourfold.nn.quantise import Codebook, FiniteScalars
from fourfold.paradigms import cards
from fourfold.paradigms.latent import (
    CodeBound,
    CodeDecoder,
    Elbo,
    ImportanceWeighted,
    PriorThenDecode,
    QuantisedDecoder,
    VariationalBound,
)
from fourfold.paradigms.perceptual import PerceptualBound
from fourfold.spaces import Categories, Images, Text, Vectors
from fourfold.vocabulary import Kind, Paradigm

CARD = cards()["latent-variable"]
build, ladder = CARD.recipes["convolutional"], CARD.recipes["ladder"]
MAPS = [CARD.recipes[name] for name in ("kl", "vq", "fsq")]


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def _points(n_values: int) -> Tensor:
    return 2 * torch.arange(n_values) / (n_values - 1) - 1


def _mixture(n_values: int, spread: float = 1.0) -> DiscretisedLogistics:
    shape = (3, 2, 2, 4)
    return DiscretisedLogistics(torch.randn(shape), spread * torch.randn(shape), torch.randn(shape) - 2, n_values)


# --- observation models -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_values", [2, 3, 17, 256])
@pytest.mark.parametrize("spread", [0.3, 3.0])
def test_masses_sum_to_one_over_the_values(n_values, spread):
    p = _mixture(n_values, spread)
    masses = torch.stack([p.log_masses(x.expand(3, 2, 4)).exp() for x in _points(n_values)])
    torch.testing.assert_close(masses.sum(0), torch.ones(3, 2, 4))
    assert (masses > 0).all()


def test_masses_are_differences_of_the_distribution_function():
    mu, log_scale = torch.tensor([[[0.3]]]), torch.tensor([[[-1.2]]])
    p = DiscretisedLogistics(torch.zeros(1, 1, 1), mu, log_scale, 5)
    edges = torch.tensor([-math.inf, -0.75, -0.25, 0.25, 0.75, math.inf])
    expected = torch.sigmoid((edges - 0.3) / math.exp(-1.2)).diff()
    masses = torch.stack([p.log_masses(x.expand(1, 1)).exp().squeeze() for x in _points(5)])
    torch.testing.assert_close(masses, expected)


def test_far_and_sharp_masses_keep_finite_gradients():
    mu, log_scale = torch.full((1, 2, 1), 3.0, requires_grad=True), torch.full((1, 2, 1), -6.0, requires_grad=True)
    p = DiscretisedLogistics(torch.zeros(1, 2, 1), mu, log_scale, 256)
    p.log_prob(torch.tensor([[-1.0]])).sum().backward()
    assert mu.grad.isfinite().all()
    assert log_scale.grad.isfinite().all()


@pytest.mark.parametrize("n_values", [2, 17, 256])
def test_mean_and_median_are_those_of_the_masses(n_values):
    p, points = _mixture(n_values), _points(n_values)
    masses = torch.stack([p.log_masses(x.expand(3, 2, 4)).exp() for x in points])
    torch.testing.assert_close(p.mean(), torch.einsum("l,l...->...", points, masses), atol=1e-4, rtol=1e-4)
    index = (masses.cumsum(0) < 0.5 - 1e-6).sum(0)
    torch.testing.assert_close(p.median(), points[index])


def test_draws_have_the_masses():
    n = 20_000
    batches = [
        t.expand(n, *t.shape[1:]) for t in (torch.randn(1, 2, 1), torch.randn(1, 2, 1) / 2, torch.full((1, 2, 1), -1.0))
    ]
    p = DiscretisedLogistics(*batches, n_values=5)
    x = p.draw(Noise(0, 0, n))
    for point in _points(5):
        mass = p.log_masses(point.expand(n, 1))[0].exp().item()
        share = (x == point).float().mean().item()
        assert abs(share - mass) < 4 * math.sqrt(mass * (1 - mass) / n) + 1e-9


def test_gaussians_are_torchs():
    mu, log_scale, x = torch.randn(4, 3), torch.randn(4, 3), torch.randn(4, 3)
    expected = torch.distributions.Normal(mu, log_scale.exp()).log_prob(x).sum(1)
    torch.testing.assert_close(Gaussians(mu, log_scale).log_prob(x), expected)


@pytest.mark.parametrize("head", [GaussianHead(), LogisticHead(17, 3)])
def test_a_head_reads_each_channel_from_values_of_its_own(head):
    h = torch.randn(4, head.values, 2, 3, 5)
    both, apart = head(h.flatten(1, 2)).mean(), [head(h[:, :, c]).mean() for c in range(2)]
    torch.testing.assert_close(both, torch.stack(apart, 2).flatten(1, 2))


# --- a linear Gaussian model, of which everything is known
# --------------------------------------------------------------

SIGMA = 0.7


class FixedGaussian(Head):
    """x ~ N(h, SIGMA^2)."""

    values = 1

    def __call__(self, h: Tensor) -> Gaussians:
        return Gaussians(h, torch.full_like(h, math.log(SIGMA)))


class Linear(Part, nn.Module):
    """u -> W u + b with orthogonal columns, so that the posterior factorises."""

    def __init__(self) -> None:
        super().__init__()
        q, _ = torch.linalg.qr(torch.randn(4, 2))
        self.W, self.b = nn.Parameter(q * torch.tensor([1.5, 0.5])), nn.Parameter(torch.randn(4))

    def forward(self, u: Tensor, cond: Tensor | None = None) -> Tensor:
        return u @ self.W.T + self.b


class Affine(Part, nn.Module):
    """The exact posterior of :class:`Linear`, perhaps shifted and widened."""

    def __init__(self, net: Linear, shift: float = 0.0, widen: float = 0.0) -> None:
        super().__init__()
        variance = 1 / (1 + net.W.detach().square().sum(0) / SIGMA**2)
        self.M = nn.Parameter((net.W.detach() * variance / SIGMA**2).T)
        self.c = nn.Parameter(-self.M.detach() @ net.b.detach() + shift)
        log_scale = variance.log() / 2 + widen
        self.raw = nn.Parameter(4.5 * torch.atanh((log_scale + 2.5) / 4.5))

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        mu = x @ self.M.T + self.c
        return torch.cat([mu, self.raw.expand_as(mu)], 1)


def _linear_gaussian(shift: float = 0.0, widen: float = 0.0, prior: Couplings | None = None):
    net = Linear()
    decoder = CodeDecoder(net, FixedGaussian(), (4,), 2, prior)
    covariance = net.W @ net.W.T + SIGMA**2 * torch.eye(4)
    exact = torch.distributions.MultivariateNormal(net.b.detach(), covariance.detach())
    return decoder, VariationalBound(Affine(net, shift, widen), free_nats=-1e9), exact


def _score(likelihood, decoder, objective, x):
    return likelihood(decoder, Batch(x), Noise(0, 0, len(x), "score"), objective)


def test_the_bound_is_tight_at_the_true_posterior():
    decoder, objective, exact = _linear_gaussian()
    x = exact.sample((50,))
    for likelihood in (Elbo(3), ImportanceWeighted(3)):
        score = _score(likelihood, decoder, objective, x)
        torch.testing.assert_close(score.nats, exact.log_prob(x), atol=1e-4, rtol=1e-4)
        assert score.std_error.max() < 1e-4
        assert score.kind is Kind.LOWER_BOUND


def test_elbo_below_importance_weighting_below_exact():
    decoder, objective, exact = _linear_gaussian(shift=0.4, widen=0.3)
    x = exact.sample((2000,))
    scores = [_score(p, decoder, objective, x) for p in (Elbo(16), ImportanceWeighted(4), ImportanceWeighted(64))]
    means = [score.nats.mean().item() for score in scores] + [exact.log_prob(x).mean().item()]
    errors = [(score.std_error.square().sum().sqrt() / len(x)).item() for score in scores]
    assert means[0] + 4 * errors[0] < means[1] < means[2] < means[3] + 4 * errors[2]
    assert means[3] - means[2] < 0.1 < means[3] - means[0]
    gap = _gap(objective, x)
    assert means[3] - means[0] == pytest.approx(gap, abs=5 * errors[0])


def _gap(objective: VariationalBound, x: Tensor) -> float:
    """KL(q || true posterior), which is what separates ELBO and likelihood, in closed form."""
    variance_ratio = torch.tensor(math.exp(0.6))
    true_scale = (4.5 * torch.tanh(objective.encoder.raw / 4.5) - 2.5 - 0.3).exp()
    return ((variance_ratio - 1) / 2 - 0.3 + (0.4 / true_scale).square() / 2).sum().item()


def test_the_bound_is_stationary_at_the_truth_and_not_beside_it():
    n, slopes = 50_000, []
    for shift in (0.0, 0.3):
        torch.manual_seed(0)
        decoder, objective, exact = _linear_gaussian(shift)
        loss = objective.terms(decoder)["bound"](Batch(exact.sample((n,))))
        parameters = [objective.encoder.c, objective.encoder.raw, decoder.net.b, decoder.net.W]
        gradients = torch.autograd.grad(loss.mean(), parameters)
        slopes.append(max(g.abs().max().item() for g in gradients))
    assert slopes[0] < 12 / math.sqrt(n) < slopes[1] / 4


def test_a_learned_prior_is_a_density_of_codes():
    prior = Couplings(2, 8, 1, 2)
    for parameter in prior.parameters():
        nn.init.normal_(parameter, std=0.3)
    decoder, objective, _ = _linear_gaussian(prior=prior)
    side = torch.linspace(-12, 12, 241)
    u = torch.cartesian_prod(side, side)
    with torch.no_grad():
        eps, log_det = prior.inverse(u)
        density = (log_det - eps.square().sum(1) / 2 - math.log(2 * math.pi)).exp()
    assert (density.sum() * 0.01).item() == pytest.approx(1, abs=0.02)
    assert _score(Elbo(2), decoder, objective, torch.randn(5, 4)).nats.isfinite().all()


def test_one_draw_has_no_standard_error():
    decoder, objective, exact = _linear_gaussian(0.1)
    assert _score(Elbo(1), decoder, objective, exact.sample((3,))).std_error.isnan().all()
    assert "K = 5" in _score(ImportanceWeighted(5), decoder, objective, exact.sample((3,))).note


# --- the presets ------------------------------------------------------------------------------------------------------

SPACES = [
    Images(1, 28, 28),
    Images(3, 9, 13, n_values=7, given=Categories.numbered(3)),
    Vectors(4, given=Categories.numbered(2)),
    Vectors(1),
    Images(1, 8, 8, n_values=17),
]


def _data(space, n: int) -> tuple[Tensor, Tensor | None]:
    labels = None if space.given is None else torch.arange(n) % space.given.count
    if isinstance(space, Images):
        return torch.randint(0, space.n_values, (n, *space.shape), dtype=torch.uint8), labels
    return torch.randn(n, *space.shape), labels


MODELS = [*((build, space) for space in SPACES), (ladder, SPACES[0]), (ladder, SPACES[1]), (ladder, SPACES[4])]


@pytest.mark.parametrize(("recipe", "space"), MODELS)
def test_every_parameter_gets_a_finite_gradient(recipe, space):
    model = recipe(space, "xs")
    for parameter in model.parameters():
        with torch.no_grad():
            parameter += 0.01 * torch.randn_like(parameter)
    (term,) = model.terms().values()
    loss = term(model.encode(*_data(space, 6)))
    assert loss.shape == (6,)
    loss.mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in term.trainable())
    assert {"kl", "active_units"} <= set(term.watched)


@pytest.mark.parametrize(("recipe", "space"), MODELS)
@pytest.mark.parametrize("size", ["xs", "s"])
def test_presets_sample_score_and_rebuild(recipe, space, size):
    model = recipe(space, size)
    x, labels = _data(space, 4)
    assert model.paradigm is Paradigm.LATENT_VARIABLE
    samples = model.sample(5, seed=1)
    space.check(samples)
    torch.testing.assert_close(samples[3:], model.sample(2, seed=1, start=3))
    score = model.log_prob(x, labels)
    assert score.kind is Kind.LOWER_BOUND
    assert score.nats.isfinite().all()
    assert score.evaluations == 2
    again = GenerativeModel.from_configuration(model.configuration())
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again.log_prob(x, labels).nats, score.nats)


def test_a_ladders_bound_is_below_its_importance_weighted_one():
    model, x = ladder(Images(1, 8, 8, n_values=17), "xs"), torch.randint(0, 17, (64, 1, 8, 8), dtype=torch.uint8)
    scores = [model.with_parts(likelihood=p).log_prob(x).nats.mean() for p in (Elbo(8), ImportanceWeighted(8))]
    assert scores[0] < scores[1]


def test_a_ladders_divergences_are_the_mean_of_its_log_ratio():
    model = ladder(Images(1, 8, 8, n_values=17), "xs")
    x = model.encode(torch.randint(0, 17, (1, 1, 8, 8), dtype=torch.uint8)).x.expand(2000, -1, -1, -1)
    encoder = model.objective.encoder
    with torch.no_grad():
        inference = model.estimand.infer(encoder(x), encoder, None, lambda *event: torch.randn(2000, *event))
    difference = inference.log_ratio - torch.stack(inference.divergences).sum(0)
    assert abs(difference.mean()) < 4 * difference.std() / math.sqrt(2000)


@pytest.mark.agreement
def test_the_masses_of_all_images_sum_to_one():
    space = Images(1, 1, 2, n_values=3)
    model = ladder(space, "xs").with_parts(likelihood=ImportanceWeighted(1024))
    every = torch.cartesian_prod(torch.arange(3), torch.arange(3)).to(torch.uint8).reshape(9, 1, 1, 2)
    with torch.no_grad():
        for layer in (model.objective.encoder.head, *model.objective.encoder.out):
            nn.init.zeros_(layer.weight)
        model.objective.encoder.head.bias.view(2, -1)[1] = 4.5 * math.atanh(2.5 / 4.5)  # the posterior is the prior
    assert model.log_prob(every).nats.exp().sum().item() == pytest.approx(1, abs=0.05)


def test_labels_condition_samples():
    model = build(Vectors(3, given=Categories.numbered(2)), "xs")
    assert not torch.allclose(model.sample(4, cond=0), model.sample(4, cond=1))


def test_what_is_observed_is_a_setting():
    model = build(Images(1, 8, 8, n_values=17), "xs")
    mean, median, draw, again = (
        model.with_parts(sampler=PriorThenDecode(how)).sample(3) for how in (AsMean(), AsMedian(), AsDraw(), AsDraw())
    )
    assert torch.equal(draw, again)
    assert not torch.equal(draw, median)
    assert (mean.float() - median.float()).abs().max() <= 16


def test_free_nats_cost_nothing():
    space = Vectors(2)
    model = build(space, "xs")
    batch = model.encode(torch.randn(8, 2))
    losses = []
    for beta in (0.0, 5.0):
        torch.manual_seed(3)
        objective = VariationalBound(model.objective.encoder, free_nats=1e4, beta=beta)
        losses.append(objective.terms(model.estimand)["bound"](batch))
    torch.testing.assert_close(losses[1] - losses[0], torch.full((8,), 5e4), rtol=1e-4, atol=1.0)


def test_refusals():
    with pytest.raises(TypeError, match="Text"):
        build(Text(), "s")
    with pytest.raises(TypeError, match="Vectors"):
        ladder(Vectors(2), "s")


# --- codes that are maps
# ------------------------------------------------------------------------------------------------

SMALL = Images(2, 7, 10, n_values=9, given=Categories.numbered(3))


@pytest.mark.parametrize("recipe", MAPS)
def test_the_map_recipes_sample_score_and_rebuild(recipe):
    model = recipe(SMALL, "xs")
    x, labels = _data(SMALL, 4)
    SMALL.check(model.sample(3, cond=1, seed=2))
    assert model.paradigm is Paradigm.LATENT_VARIABLE
    assert model.log_prob(x, labels).kind is Kind.LOWER_BOUND
    again = GenerativeModel.from_configuration(model.configuration())
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again.log_prob(x, labels).nats, model.log_prob(x, labels).nats)


@pytest.mark.parametrize("recipe", MAPS)
def test_codes_and_posteriors_are_what_a_codec_needs(recipe):
    model = recipe(SMALL, "xs").eval()
    estimand, parameters = model.estimand, model.objective.encoder(model.encode(_data(SMALL, 4)[0]).x)
    if isinstance(estimand, QuantisedDecoder):
        codes = estimand.codes(parameters)
        assert codes.shape == (4, 4, 5)
        assert codes.dtype == torch.long
        assert 0 <= codes.min() <= codes.max() < estimand.size
        decoded = estimand.decode(codes).log_prob(model.encode(_data(SMALL, 4)[0]).x)
        assert decoded.shape == (4,)
    else:
        q = estimand.posterior(parameters)
        assert q.mu.shape == q.log_scale.shape == (4, 2, 4, 5)
        assert estimand.decode(q.mu).mean().shape == (4, 2, 7, 10)


@pytest.mark.parametrize("quantiser", [FiniteScalars((3,)), Codebook(3, 2)], ids=["fsq", "vq"])
def test_a_quantised_bound_is_one_term_of_a_sum_that_is_known(quantiser):
    class Net(Part, nn.Module):
        def __init__(self, inputs: int) -> None:
            super().__init__()
            self.layer = nn.Linear(inputs, 4)

        def forward(self, v: Tensor, cond: Tensor | None = None) -> Tensor:
            return self.layer(v.flatten(1))

    class Encoder(Part, nn.Module):
        def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
            return torch.stack([x[:, :2], x[:, 2:]][: quantiser.channels], 1)[:, :, None]

    prior = IndependentCodes((1, 2), 3)
    nn.init.normal_(prior.logits.rows.bias)
    decoder = QuantisedDecoder(Net(2 * quantiser.channels), FixedGaussian(), (4,), quantiser, prior).eval()
    x = torch.randn(50, 4)
    every = torch.cartesian_prod(torch.arange(3), torch.arange(3)).reshape(9, 1, 2)
    with torch.no_grad():
        joint = torch.stack([decoder.decode(k[None]).log_prob(x) + prior.log_prob(k[None]) for k in every])
        codes = decoder.codes(Encoder()(x))
        log_joint = joint[codes.flatten(1) @ torch.tensor([3, 1]), torch.arange(50)]
    score = _score(CodeBound(), decoder, VariationalBound(Encoder()), x)
    torch.testing.assert_close(score.nats, log_joint)
    assert (score.nats < joint.logsumexp(0)).all()
    assert score.std_error is None


def test_the_likelihoods_gradient_passes_straight_through_the_quantiser():
    model = CARD.recipes["fsq"](Images(1, 8, 8, n_values=17), "xs")
    batch = model.encode(_data(Images(1, 8, 8, n_values=17), 6)[0])
    objective = VariationalBound(model.objective.encoder, beta=0.0)
    objective.terms(model.estimand)["bound"](batch).mean().backward()
    assert model.objective.encoder.stem.weight.grad.abs().max() > 0


def _perceptual(start: int = 0, **settings):
    space = Images(1, 8, 8, n_values=17)
    model = CARD.recipes["kl"](space, "xs")
    old = model.objective
    return model, PerceptualBound(old.encoder, old.critic, start=start, **settings), model.encode(_data(space, 6)[0])


def test_before_its_start_the_perceptual_bound_is_the_bound():
    model, objective, batch = _perceptual(start=2)
    losses = []
    for bound in (VariationalBound(objective.encoder, 0.0, 0.1), objective, objective, objective):
        torch.manual_seed(5)
        losses.append(bound.terms(model.estimand)["bound"](batch).detach())
    assert torch.equal(losses[0], losses[1])
    assert torch.equal(losses[0], losses[2])
    assert not torch.equal(losses[0], losses[3])


def test_the_balanced_gradient_is_that_of_the_formula():
    model, objective, batch = _perceptual(adversarial=0.4, feature=2.0)
    term = objective.terms(model.estimand)["bound"]
    torch.manual_seed(5)
    value = term(batch)
    gradients = torch.autograd.grad(value.mean(), list(model.estimand.parameters()))
    torch.manual_seed(5)
    parameters = objective.encoder(batch.x)
    sample = model.estimand.infer(parameters, objective.encoder, None, lambda *s: torch.randn(6, *s))
    log_likelihood, centre = sample.observation.log_prob(batch.x), sample.observation.centre()
    bracket = term._bracket(batch.x, centre)
    (to,) = torch.autograd.grad(bracket.sum(), centre, retain_graph=True)
    (mu,) = torch.autograd.grad(log_likelihood.sum(), sample.observation.mu, retain_graph=True)
    weight = 0.4 * mu.sum(1).norm() / to.norm()
    loss = 0.1 * sample.log_ratio.clamp(min=0) - log_likelihood + weight * bracket
    torch.testing.assert_close(value, loss)
    for a, b in zip(gradients, torch.autograd.grad(loss.mean(), list(model.estimand.parameters())), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_a_critic_is_trained_on_the_reconstructions_of_its_own_batch():
    model, objective, batch = _perceptual(gamma=0.0)
    terms = objective.terms(model.estimand)
    loss = terms["critic"](batch)
    terms["bound"](batch)
    remembered = terms["critic"](batch)
    reconstructions = terms["bound"].reconstructions[batch.x]
    real, false = (objective.critic(x)[0].flatten(1) for x in (batch.x, reconstructions))
    expected = (torch.relu(1 - real) + torch.relu(1 + false)).mean(1)
    torch.testing.assert_close(remembered, expected)
    assert loss.shape == (6,)
    assert set(terms["critic"].trainable()) == set(objective.critic.parameters())


def test_the_parts_of_a_batch_are_reconstructed_once():
    space = Images(1, 8, 8, n_values=17)
    model = CARD.recipes["kl"](space, "xs")
    loop = begin(model, _data(space, 8)[0], dataclasses.replace(model.training_defaults, batch_size=8), parts=4)
    calls = []
    model.objective.encoder.register_forward_hook(lambda *_: calls.append(1))
    step = loop.step(0.1)
    assert set(step.losses) == {"bound", "critic"}
    assert len(calls) == 4
    assert len(loop.terms["bound"].reconstructions) == 0  # they are not kept longer than their batch


# --- learned priors
# -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prior", [IndependentGaussians((2,)), Mixture(2, 3)], ids=lambda p: type(p).__name__)
def test_with_a_learned_prior_too_elbo_is_below_importance_weighting_below_exact(prior):
    """A mixture of Gaussians through a linear map with Gaussian noise is a mixture of Gaussians."""
    decoder, objective, _ = _linear_gaussian(shift=0.2, widen=0.3, prior=prior)
    net, single = decoder.net, isinstance(prior, IndependentGaussians)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter += 0.4 * torch.randn_like(parameter)
        m, s = ((t.rows.bias[None] if single else t) for t in (prior.mean, prior.log_scale))
        covariance = net.W @ torch.diag_embed((2 * s).exp()) @ net.W.T + SIGMA**2 * torch.eye(4)
        parts = torch.distributions.MultivariateNormal(m @ net.W.T + net.b, covariance)
        weights = torch.distributions.Categorical(logits=torch.zeros(1) if single else prior.logits.rows.bias)
        exact = torch.distributions.MixtureSameFamily(weights, parts)
    x = exact.sample((1000,))
    scores = [_score(p, decoder, objective, x) for p in (Elbo(16), ImportanceWeighted(8), ImportanceWeighted(256))]
    means = [score.nats.mean().item() for score in scores] + [exact.log_prob(x).mean().item()]
    errors = [(score.std_error.square().sum().sqrt() / len(x)).item() for score in scores]
    assert means[0] < means[1] < means[2] < means[3] + 4 * errors[2]
    assert means[3] - means[2] < 0.1 < means[3] - means[0]
    z = Noise(0, 0, 20_000).normal(*decoder.latent)
    samples = decoder(z).draw(Noise(1, 0, 20_000))
    torch.testing.assert_close(samples.mean(0), exact.mean, atol=0.1, rtol=0)
    torch.testing.assert_close(samples.var(0), exact.variance, atol=0.15, rtol=0.05)
