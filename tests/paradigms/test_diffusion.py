"""Diffusion: objectives at the truth, likelihoods against exact densities, and the presets."""

import itertools
import math

import pytest
import torch

from fourfold import checks
from fourfold.codecs import Standardised
from fourfold.core import Batch, GenerativeModel, Noise, Training, forgetful, unknown, view
from fourfold.data.oracles import GaussianDenoiser, GaussianTransport, MixtureDenoiser
from fourfold.distributions.times import LogitNormal, Uniform, normal_quantile, quantiles
from fourfold.estimands import Denoiser, NoisePredictor, Score, VectorField, Velocity
from fourfold.estimands.guidance import Guided
from fourfold.estimands.preconditioned import NetworkNoise, NetworkScore, NetworkVelocity, Preconditioned
from fourfold.likelihoods import DiffusionBound, ProbabilityFlow
from fourfold.maths.paths import EDM, VE, VP, Cosine, RectifiedFlow, SubVP
from fourfold.paradigms import cards, diffusion
from fourfold.samplers import ode, sde
from fourfold.samplers.ode import DPMSolver
from fourfold.spaces import Categories, Images, Text, Vectors
from fourfold.vocabulary import Kind, Paradigm

RECIPES = cards()["diffusion"].recipes
MEAN = (0.3, -0.2, 0.1)
COVARIANCE = ((1.0, 0.5, 0.0), (0.5, 0.8, -0.3), (0.0, -0.3, 0.6))
PATHS = (EDM(), VE(), VP(), SubVP(), Cosine(), RectifiedFlow())


def gaussian(path):
    return GaussianDenoiser(path, MEAN, COVARIANCE)


def exact():
    return torch.distributions.MultivariateNormal(torch.tensor(MEAN), torch.tensor(COVARIANCE))


def draw(seed, n=256):
    generator = torch.Generator().manual_seed(seed)
    factor = torch.linalg.cholesky(torch.tensor(COVARIANCE))
    return torch.randn(n, 3, generator=generator) @ factor.T + torch.tensor(MEAN)


def log_prob(likelihood, oracle, x, seed=0):
    estimand = view(oracle, likelihood.needs)
    return likelihood(estimand, Batch(x), Noise(seed, 0, len(x), "score"), diffusion.Denoising())


# --- objectives -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [EDM(), VP(), RectifiedFlow()], ids=lambda p: type(p).__name__)
def test_denoising_is_stationary_at_the_truth(path):
    objective = diffusion.Denoising(mean=-0.5, std=1.0, sigma_data=1.0)
    checks.check_stationary(objective, gaussian(path), draw)


def test_flow_matching_is_stationary_at_the_truth():
    checks.check_stationary(diffusion.FlowMatching(), view(gaussian(RectifiedFlow()), Velocity), draw)


def test_optimal_transport_is_the_best_of_all_permutations():
    x, eps = draw(0, 6), torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    coupled = diffusion.OptimalTransport()(x, eps, None)
    costs = [(x - eps[list(order)]).square().sum() for order in itertools.permutations(range(6))]
    assert torch.equal(coupled.sort(0).values, eps.sort(0).values)
    assert (x - coupled).square().sum() == pytest.approx(min(costs).item(), rel=1e-6)
    assert torch.equal(diffusion.Independent()(x, eps, None), eps)


@pytest.mark.parametrize("event", [(1,), (1, 1, 1)])
def test_noise_is_assigned_within_a_label_and_within_a_minibatch(event):
    """In one dimension the best assignment keeps the order, so each group is sorted as its noise is."""
    x, eps = torch.randn(2, 40, *event, generator=torch.Generator().manual_seed(0))
    label = torch.arange(40) % 3
    captions = torch.stack([label, torch.full_like(label, -1)], 1)
    for cond in (label, captions):
        coupled = diffusion.OptimalTransport()(x, eps, cond)
        for k in range(3):
            rows = label == k
            assert torch.equal(coupled[rows].flatten()[x[rows].flatten().argsort()], eps[rows].flatten().sort().values)
    parts = diffusion.OptimalTransport(minibatch=16)(x, eps, None)
    for part, noise, assigned in zip(x.split(16), eps.split(16), parts.split(16), strict=True):
        assert torch.equal(assigned.flatten()[part.flatten().argsort()], noise.flatten().sort().values)


def test_flow_matching_of_coupled_noise_learns_the_field_of_the_coupling():
    """With independent noise the truth is the velocity; with the nearest noise it is the field of optimal transport."""

    class Nearest(diffusion.Coupling):
        def __call__(self, x, eps, cond):
            values, vectors = torch.linalg.eigh(torch.tensor(COVARIANCE, dtype=x.dtype))
            return (x - torch.tensor(MEAN, dtype=x.dtype)) @ vectors * values.rsqrt() @ vectors.T

    def double(seed):  # this loss is 0 at the truth for each example, so only rounding is left of its slope
        return draw(seed, 1024).double()

    velocity, field = view(gaussian(RectifiedFlow()), Velocity), GaussianTransport(RectifiedFlow(), MEAN, COVARIANCE)
    independent, nearest = (diffusion.CoupledFlowMatching(c) for c in (diffusion.Independent(), Nearest()))
    for objective, truth, other in ((independent, velocity, field), (nearest, field, velocity)):
        checks.check_stationary(objective, truth, double, batches=32, directions=3)
        with pytest.raises(checks.CheckFailed):
            checks.check_stationary(objective, other, double, batches=32, directions=3)

    def loss(objective, estimand):
        torch.manual_seed(0)
        (term,) = objective.terms(estimand).values()
        return term(Batch(draw(1, 512))).mean().item()

    coupled = diffusion.CoupledFlowMatching(diffusion.OptimalTransport(minibatch=512))
    assert loss(coupled, field) < 0.4 * loss(coupled, velocity)
    assert loss(independent, velocity) < 0.8 * loss(independent, field)


def test_coupled_noise_teaches_a_field_and_no_score():
    model = RECIPES["optimal-transport"](Vectors(2, given=Categories.numbered(2)), "xs")
    assert not isinstance(model.estimand, Velocity)
    for part in (
        {"sampler": sde.EulerMaruyama()},
        {"sampler": DPMSolver()},
        {"likelihood": DiffusionBound()},
    ):
        (name,) = (type(value).__name__ for value in part.values())
        with pytest.raises(
            TypeError,
            match=f"must take a VectorField, which CoupledFlowMatching learns, .*, got {name}, which needs a Denoiser",
        ):
            model.with_parts(**part)
    claims = NetworkVelocity(model.estimand.net, (2,), RectifiedFlow(), 1.0)
    with pytest.raises(TypeError, match=r"for CoupledFlowMatching, got NetworkVelocity.* fits a VectorField"):
        GenerativeModel(model.space, model.codec, claims, model.objective, model.sampler, model.likelihood)
    for times in (Uniform(), LogitNormal(0.5, 0.8)):
        t = times(RectifiedFlow(), 4000, torch.device("cpu"))
        assert bool((t.diff() > 0).all())
        middle = 0.5 if isinstance(times, Uniform) else torch.sigmoid(torch.tensor(0.5)).item()
        assert t.median().item() == pytest.approx(middle, abs=5e-3)


def test_denoising_is_not_stationary_elsewhere():
    wrong = GaussianDenoiser(EDM(), (1.3, -0.2, 0.1), COVARIANCE)
    with pytest.raises(checks.CheckFailed):
        checks.check_stationary(diffusion.Denoising(sigma_data=1.0), wrong, draw)


def test_an_untrained_network_has_loss_one_at_every_noise_level():
    """The point of the weights: sigma_data^2 is the data's mean square, F = 0, so the loss is 1 on average."""
    model = RECIPES["denoising"](Vectors(4), "xs")
    torch.manual_seed(0)
    term = model.terms()["denoising"]
    losses = term(Batch(torch.randn(20_000, 4)))
    for part in losses.chunk(4):  # in order of noise
        assert part.mean().item() == pytest.approx(1.0, abs=0.03)
    assert term.watched["loss_low_noise"].item() == pytest.approx(losses[:10_000].mean().item())
    assert term.watched["loss_high_noise"].item() == pytest.approx(losses[10_000:].mean().item())


def test_noise_levels_follow_the_law_asked_for():
    u = quantiles(5_000, torch.device("cpu"))
    z = normal_quantile(u)
    assert z.mean().item() == pytest.approx(0, abs=5e-3)
    assert z.std().item() == pytest.approx(1, abs=1e-2)


def test_labels_are_dropped_at_the_rate_asked_for():
    torch.manual_seed(0)
    cond = torch.arange(4).repeat(5_000)
    dropped = forgetful(cond, 0.2)
    assert (dropped < 0).double().mean().item() == pytest.approx(0.2, abs=0.01)
    assert bool(((dropped == cond) | unknown(dropped)).all())
    assert forgetful(None, 0.2) is None


SCORES = {
    "denoising": diffusion.DenoisingScoreMatching(),
    "explicit": diffusion.ExplicitScoreMatching(),
    "sliced": diffusion.SlicedScoreMatching(),
    "sliced-plain": diffusion.SlicedScoreMatching(reduced=False),
}


@pytest.mark.parametrize("objective", SCORES.values(), ids=SCORES)
def test_score_matching_is_stationary_at_the_truth(objective):
    checks.check_stationary(objective, view(gaussian(VP(t_min=0.02)), Score), draw, batches=32, directions=3)


def test_noise_prediction_is_stationary_at_the_truth():
    checks.check_stationary(diffusion.NoisePrediction(), view(gaussian(VP()), NoisePredictor), draw, batches=32)


@pytest.mark.parametrize("objective", [diffusion.ExplicitScoreMatching(), diffusion.SlicedScoreMatching()])
def test_score_matching_is_not_stationary_elsewhere(objective):
    wrong = GaussianDenoiser(VP(t_min=0.02), (1.3, -0.2, 0.1), COVARIANCE)
    with pytest.raises(checks.CheckFailed):
        checks.check_stationary(objective, view(wrong, Score), draw, batches=32)


def test_forms_of_score_matching_agree_up_to_a_constant():
    """Between a right and a wrong score every form has the same difference: E sigma^2 ||s - grad log p_t||^2 / dims."""
    path = VP(t_min=0.02)
    right = view(gaussian(path), Score)
    wrong = view(GaussianDenoiser(path, (2.3, -0.2, 1.1), COVARIANCE), Score)
    x, n = draw(7, 20_000), 20_000

    def losses(objective, score):
        torch.manual_seed(3)
        (term,) = objective.terms(score).values()
        return term(Batch(x)).detach().double()

    gaps = {name: losses(o, wrong) - losses(o, right) for name, o in SCORES.items()}
    torch.manual_seed(3)
    t = Uniform()(path, n, x.device)
    x_t = path.noised(x, torch.randn_like(x), t)
    squares = (wrong(x_t, t) - right(x_t, t)).square().sum(1) * path.sigma(t) ** 2 / 3
    for gap in gaps.values():
        error = (gap - squares).std() / math.sqrt(n)
        assert abs(float(gap.mean() - squares.mean())) < 4 * error
        assert squares.mean() > 10 * error


def test_the_reduced_form_has_less_variance():
    right = view(gaussian(VP(t_min=0.02)), Score)
    spread = []
    for objective in (SCORES["sliced"], SCORES["sliced-plain"]):
        (term,) = objective.terms(right).values()
        spread.append(float(term(Batch(draw(8, 5_000))).detach().std()))
    assert spread[0] < 0.8 * spread[1]


def test_the_explicit_trace_is_that_of_the_jacobian():
    right = view(gaussian(VP()), Score)
    x, t = draw(9, 6).requires_grad_(), torch.linspace(0.1, 0.9, 6)
    s = right(x, t)
    trace = (diffusion.ExplicitScoreMatching().excess(s, x, s) - s.square().sum(1)) / 2
    jacobians = [
        torch.autograd.functional.jacobian(lambda y, i=i: right(y[None], t[i : i + 1])[0], x[i].detach())
        for i in range(6)
    ]
    assert torch.allclose(trace, torch.stack([j.trace() for j in jacobians]), atol=1e-4)


def test_the_noise_network_is_the_preconditioned_denoiser():
    torch.manual_seed(0)
    net = RECIPES["denoising"](Vectors(3), "xs").estimand.net
    for p in net.parameters():
        p.data.add_(0.05 * torch.randn_like(p))

    class Negative(torch.nn.Module):
        def forward(self, *arguments):
            return -net(*arguments)

    x, t = torch.randn(8, 3), torch.linspace(0.1, 0.9, 8)
    eps = NetworkNoise(Negative(), (3,), VP(), 1.0)
    denoiser = Preconditioned(net, (3,), VP(), 1.0)
    assert torch.allclose(eps(x, t), view(denoiser, NoisePredictor)(x, t), atol=1e-5)
    score = NetworkScore(Negative(), (3,), VP(), 1.0)
    assert torch.allclose(score(x, t), view(denoiser, Score)(x, t), atol=1e-4)


# --- views ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", ["denoising", "velocity"])
@pytest.mark.parametrize("path", [VP(), Cosine(), RectifiedFlow()], ids=lambda p: type(p).__name__)
def test_views_of_a_network_commute(recipe, path):
    torch.manual_seed(0)
    estimand = RECIPES[recipe](Vectors(3), "xs").estimand
    for p in estimand.parameters():
        p.data.add_(0.02 * torch.randn_like(p))
    with torch.no_grad():
        checks.check_views(type(estimand)(estimand.net, (3,), path, 1.0), (3,))


def test_the_score_view_is_the_gradient_of_the_exact_density():
    oracle = MixtureDenoiser(EDM(), (0.3, 0.7), ((-1.0, 0.0), (1.0, 0.5)), (((0.2, 0.0), (0.0, 0.3)),) * 2)
    x, t = torch.randn(16, 2, dtype=torch.float64).requires_grad_(), torch.linspace(0.1, 3, 16).double()
    (gradient,) = torch.autograd.grad(oracle.log_prob(x, t).sum(), x)
    assert torch.allclose(view(oracle, Score)(x, t), gradient, atol=1e-9)


# --- likelihoods ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS, ids=lambda p: type(p).__name__)
def test_the_flow_with_the_exact_trace_gives_the_density(path):
    x = draw(1, 32)
    result = log_prob(ProbabilityFlow(24, None), gaussian(path), x)
    assert result.kind is Kind.ESTIMATE
    assert result.std_error is None
    # the path's first noise widens the data a little, and its last keeps a little of the mean
    assert torch.allclose(result.nats, exact().log_prob(x), atol=0.02)


def test_the_flow_with_probes_agrees_within_its_error():
    x = draw(2, 256)
    result = log_prob(ProbabilityFlow(24, 8), gaussian(EDM()), x)
    gap = (result.nats - exact().log_prob(x)) / (result.std_error + 2e-3)
    assert result.draws == 8
    assert gap.square().mean().sqrt() < 1.5  # t with 7 degrees of freedom has deviation 1.18
    assert abs(float((result.nats - exact().log_prob(x)).mean())) < 4 * float(result.std_error.mean()) / 16 + 2e-3


def test_the_flow_of_a_mixture_agrees_with_its_density():
    oracle = MixtureDenoiser(EDM(), (0.3, 0.7), ((-2.0,), (2.0,)), (((0.25,),), ((0.25,),)))
    x = torch.linspace(-3, 3, 41)[:, None]
    result = log_prob(ProbabilityFlow(40, None), oracle, x)
    density = oracle.log_prob(x.double(), torch.full((41,), 0.002).double())
    assert torch.allclose(result.nats.double(), density, atol=0.03)  # N(0, sigma_T^2) misses the mean by 0.8 / 80


@pytest.mark.parametrize("path", PATHS, ids=lambda p: type(p).__name__)
def test_the_bound_lies_below_the_density_and_close(path):
    x = draw(3, 512)
    result = log_prob(DiffusionBound(64), gaussian(path), x)
    gap = exact().log_prob(x) - result.nats
    error = result.std_error.square().sum().sqrt() / len(x)
    assert result.kind is Kind.LOWER_BOUND
    assert gap.mean() > -4 * error
    assert gap.mean() < 0.1 + 4 * error


def test_the_bound_of_a_wrong_model_is_lower():
    x = draw(3, 512)
    right = log_prob(DiffusionBound(32), gaussian(EDM()), x).nats.mean()
    wrong = GaussianDenoiser(EDM(), (1.3, -0.2, 0.1), COVARIANCE)
    assert log_prob(DiffusionBound(32), wrong, x).nats.mean() < right - 0.1


def test_the_variance_of_the_bound_is_its_spread_over_seeds():
    x = draw(4, 8)
    runs = [log_prob(DiffusionBound(8), gaussian(EDM()), x, seed) for seed in range(100)]
    spread = torch.stack([r.nats for r in runs]).std(0)
    claimed = torch.stack([r.variance for r in runs]).mean(0).sqrt()
    assert torch.allclose(spread, claimed, rtol=0.35)


def test_settings_without_an_error_are_refused():
    with pytest.raises(ValueError, match="probes at least 2"):
        ProbabilityFlow(probes=1)
    with pytest.raises(ValueError, match="even"):
        DiffusionBound(3)


def test_dequantisation_is_part_of_the_likelihood():
    """Uniform images: every level is equally likely, and a flat density over [-1, 1] scores log2(levels) bits per
    dim.
    """
    space = Images(1, 8, 8, n_values=17)
    model = RECIPES["denoising"](space, "xs").with_parts(likelihood=DiffusionBound(8))
    result = model.log_prob(torch.randint(17, (4, 1, 8, 8)).to(torch.uint8))
    assert result.kind is Kind.LOWER_BOUND
    assert "dequantisation" in result.note
    assert result.dims == 64


def test_vectors_are_scored_in_their_own_units():
    """Behind a codec that standardises, the density of raw vectors is that of the oracle: the determinant counts."""
    space, scale = Vectors(3), torch.tensor([2.0, 0.5, 10.0])
    codec = Standardised(space)
    codec.scale.copy_(scale)
    model = GenerativeModel(
        space,
        codec,
        gaussian(EDM()),
        diffusion.Denoising(),
        DPMSolver(),
        ProbabilityFlow(24, None),
        Training(),
    )
    x = draw(5, 16)
    expected = exact().log_prob(x) - scale.log().sum()
    assert torch.allclose(model.log_prob(x * scale).nats, expected, atol=0.02)


# --- presets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", ["denoising", "velocity", "dit"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (1, 13, 50), (3, 64, 96)])
def test_image_presets_take_any_shape(recipe, shape):
    model = RECIPES[recipe](Images(*shape, given=Categories.numbered(3)), "xs")
    assert model.paradigm is Paradigm.DIFFUSION
    x = torch.randn(2, *shape)
    assert model.estimand(x, torch.full((2,), 0.5), torch.tensor([1, -1])).shape == x.shape


def test_what_a_recipe_does_not_model_is_refused():
    with pytest.raises(TypeError, match=r"must be Images.* for this recipe, got Text"):
        RECIPES["denoising"](Text("ab", 4), "s")
    with pytest.raises(TypeError, match="must be Images for this recipe, got Vectors"):
        RECIPES["dit"](Vectors(2), "s")


@pytest.mark.parametrize("recipe", ["denoising", "velocity", "vp", "ve"])
def test_every_sampler_runs_on_every_estimand(recipe):
    """All samplers start from the same noise, and the deterministic ones end near each other in many steps."""
    torch.manual_seed(0)
    model = RECIPES[recipe](Vectors(2), "xs")
    near = [ode.DPMSolver(150), ode.DDIM(150)]
    near += [kind(50) for kind in (ode.Heun, ode.DPMSolver, ode.DPMSolver3, ode.UniPC, ode.DEIS)]
    noisy = [sde.DDPM, sde.SDEDPMSolver, sde.EulerMaruyama, sde.StochasticHeun, sde.PredictorCorrector]
    ends = [model.with_parts(sampler=sampler).sample(4) for sampler in near]
    others = [model.with_parts(sampler=kind(15)).sample(4) for kind in (ode.Euler, *noisy, sde.AnnealedLangevin)]
    assert all(bool(torch.isfinite(x).all()) for x in (*ends, *others))
    assert all(torch.allclose(x, ends[0], atol=0.08) for x in ends)


def test_a_guided_model_is_a_model():
    torch.manual_seed(0)
    model = RECIPES["denoising"](Vectors(2, given=Categories.numbered(3)), "xs")
    for p in model.estimand.parameters():
        p.data.add_(0.05 * torch.randn_like(p))
    guided = GenerativeModel(
        model.space, model.codec, Guided(model.estimand, 1.0), model.objective, model.sampler, model.likelihood
    )
    assert torch.equal(guided.sample(5, cond=1), model.sample(5, cond=1))
    checks.check_configuration(guided)
    checks.check_batch_split(guided)


@pytest.mark.parametrize(
    "recipe",
    [
        *("denoising", "velocity", "optimal-transport", "vp"),
        *(pytest.param(name, marks=pytest.mark.agreement) for name in ("ve", "subvp", "sliced")),
    ],
)
def test_a_trained_model_scores_and_samples_its_data(recipe):
    """A few hundred steps on a one-dimensional mixture: density near the truth, samples in both modes."""
    steps = {"sliced": 400, "vp": 300, "ve": 300}.get(recipe, 200)
    rate = 5e-3 if recipe == "sliced" else 3e-3  # without a target, a loss of more variance
    torch.manual_seed(0)
    model = RECIPES[recipe](Vectors(1), "xs")
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.tensor([0.3, 0.7])),
        torch.distributions.Normal(torch.tensor([-1.5, 0.65]), torch.tensor([0.3, 0.3])),
    )
    optimizer = torch.optim.AdamW(model.estimand.parameters(), rate, fused=True)
    (term,) = model.terms().values()
    for i in range(steps):
        optimizer.param_groups[0]["lr"] = rate * 0.5 * (1 + math.cos(math.pi * i / steps))
        optimizer.zero_grad()
        term(Batch(mixture.sample((256,))[:, None])).mean().backward()
        optimizer.step()
    x = mixture.sample((256,))
    assert (model.log_prob(x[:, None]).nats.mean() - mixture.log_prob(x).mean()).abs() < 0.1
    samples = model.sample(1024)[:, 0]
    assert (samples < -0.5).double().mean().item() == pytest.approx(0.3, abs=0.07)
    assert isinstance(model.estimand, Denoiser | NoisePredictor | VectorField | Score)


def test_a_sample_begins_at_a_noise_level_that_training_draws():
    class Level(torch.nn.Module):
        def forward(self, x, tau, cond):
            return tau[:, None] + 0 * x

    velocity = NetworkVelocity(Level(), (1,), RectifiedFlow())
    times = diffusion.FlowMatching().times(RectifiedFlow(), 2**17, torch.device("cpu"))
    drawn = velocity(torch.zeros(len(times), 1), times)
    first = velocity(torch.zeros(1, 1), torch.ones(1))
    assert int((drawn == first).sum()) >= 3  # 1 in 32,000 lies at four deviations
    assert float(drawn.max()) == float(first)
