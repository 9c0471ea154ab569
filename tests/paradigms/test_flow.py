"""Flows: log-determinants against autograd, round trips, densities that integrate to one and learn a known one."""

import math
from dataclasses import dataclass
from typing import final

import pytest
import torch
from torch import nn

from fourfold import checks
from fourfold.core import Batch, GenerativeModel, Noise, Part, count_evaluations
from fourfold.data import load
from fourfold.engine import fit
from fourfold.estimands.preconditioned import NetworkVelocity
from fourfold.likelihoods import DiffusionBound
from fourfold.likelihoods.ode import ProbabilityFlow
from fourfold.maths.paths import RectifiedFlow
from fourfold.nn.dequantiser import ConvDequantiser
from fourfold.nn.glow import Glow
from fourfold.nn.monotone import Affine
from fourfold.nn.tarflow import from_patches, patches, side
from fourfold.paradigms import cards
from fourfold.paradigms.continuous_flow import ContinuousLikelihood, FreeVelocity
from fourfold.paradigms.flow import (
    Denoised,
    ExactDensity,
    NoiseThenMap,
    TransformerFlow,
    VariationalDequantisation,
    inverse_error,
    log_density,
)
from fourfold.samplers.ode import DPMSolver, Euler, Heun
from fourfold.samplers.sde import DDPM, EulerMaruyama, StochasticHeun
from fourfold.spaces import Categories, Images, Text, Vectors
from fourfold.vocabulary import Kind

VECTOR_RECIPES = ["spline", "mixture", "maf", "coupling", "realnvp"]


def stirred(recipe: str, space, std: float = 0.06):
    """A small model whose weights are far from their start."""
    torch.manual_seed(0)
    model = cards()["flow"].recipes[recipe](space, "xs")
    for p in model.estimand.parameters():
        p.data.add_(std * torch.randn_like(p))
    return model.eval()


@pytest.mark.parametrize("recipe", VECTOR_RECIPES)
def test_log_determinants_are_those_of_autograd(recipe):
    model = stirred(recipe, Vectors(4, given=Categories.numbered(2)))
    x, cond = torch.randn(4, 4), torch.tensor([0, 1, -1, 0])
    _, log_det = model.estimand.inverse(x, cond)
    for i in range(4):
        jacobian = torch.autograd.functional.jacobian(
            lambda x, i=i: model.estimand.inverse(x[None], cond[i : i + 1])[0][0], x[i]
        )
        torch.testing.assert_close(jacobian.slogdet()[1], log_det[i], atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("recipe", VECTOR_RECIPES)
def test_round_trips(recipe):
    model = stirred(recipe, Vectors(5))
    z = torch.randn(64, 5)
    with torch.no_grad():
        again, log_det = model.estimand.inverse(model.estimand(z))
    torch.testing.assert_close(again, z, atol=2e-3, rtol=2e-3)
    assert log_det.isfinite().all()
    assert inverse_error(model.estimand, torch.randn(16, 5)) < 1e-3


@pytest.mark.parametrize("recipe", VECTOR_RECIPES)
def test_densities_integrate_to_one(recipe):
    checks.check_integrates(stirred(recipe, Vectors(2), 0.08), reach=14.0, points=300)


@pytest.mark.agreement
def test_a_learned_density_is_the_known_one():
    data = load("gaussian-mixture")
    model = fit("flow", data, budget="300 steps", size="xs", precision="float32").model
    x = data.test.x[:1000]
    score = model.log_prob(x)
    difference = score.nats.double() - data.density.log_prob(x)
    error = 4 * difference.std().item() / math.sqrt(len(x))
    assert score.kind is Kind.EXACT
    assert -0.15 < difference.mean() < error
    checks.check_integrates(model, reach=12.0)


def test_evaluations_are_counted_in_whole_networks():
    for recipe, drawing in (("mixture", 3), ("spline", 3), ("coupling", 1)):
        model = stirred(recipe, Vectors(3))
        with count_evaluations(model.estimand) as count:
            model.sample(64)
        assert count.rows == pytest.approx(64 * drawing)
        assert model.log_prob(torch.randn(4, 3)).evaluations == pytest.approx(1)


def test_a_low_temperature_draws_near_the_mode():
    model = stirred("coupling", Vectors(3))
    cold = model.with_parts(sampler=NoiseThenMap(0.1)).sample(64)
    assert cold.std(0).max() < model.sample(64).std(0).max()
    with pytest.raises(ValueError, match="positive"):
        NoiseThenMap(0.0)


def test_labels_condition_densities():
    model = stirred("spline", Vectors(2, given=Categories.numbered(2)))
    x = torch.randn(8, 2)
    assert not torch.allclose(model.log_prob(x, 0).nats, model.log_prob(x, 1).nats)


def test_refusals():
    with pytest.raises(TypeError, match="must be Vectors or Table for this recipe, got Text"):
        cards()["flow"].recipes["spline"](Text(), "xs")
    with pytest.raises(TypeError, match="at least 2"):
        cards()["flow"].recipes["coupling"](Vectors(1), "xs")


def test_dropout_leaves_sampling_and_scoring_alone():
    """Though the model is in training mode, where the same network drops half of its units."""
    model, x = stirred("spline", Vectors(2)), torch.randn(4, 2)
    samples, nats = model.sample(16), model.log_prob(x).nats
    for module in model.modules():
        if hasattr(module, "dropout"):
            module.dropout = 0.5
    model.train()
    assert torch.equal(model.sample(16), samples)
    assert torch.equal(model.log_prob(x).nats, nats)
    assert all(module.training for module in model.modules())
    code = model.encode(x).x
    assert not torch.allclose(model.estimand.inverse(code)[0], model.estimand.inverse(code)[0], atol=1e-3)


# --- images -----------------------------------------------------------------------------------------------------------

IMAGE_RECIPES = ["tarflow", "glow"]


@pytest.mark.parametrize("recipe", IMAGE_RECIPES)
@pytest.mark.parametrize("shape", [(1, 4, 6), (3, 3, 4)])
def test_flows_of_images_invert_with_their_log_determinant(recipe, shape):
    model = stirred(recipe, Images(*shape, n_values=8, given=Categories.numbered(2)))
    x, cond = torch.randn(3, *shape), torch.tensor([0, 1, -1])
    z, log_det = model.estimand.inverse(x, cond)
    torch.testing.assert_close(model.estimand(z, cond), x, atol=1e-3, rtol=1e-3)
    for i in range(3):
        jacobian = torch.autograd.functional.jacobian(
            lambda x, i=i: model.estimand.inverse(x[None], cond[i : i + 1])[0].flatten(), x[i]
        )
        log_determinant = jacobian.reshape(math.prod(shape), -1).slogdet()[1]
        torch.testing.assert_close(log_determinant, log_det[i], atol=5e-3, rtol=5e-3)


@pytest.mark.parametrize("recipe", IMAGE_RECIPES)
def test_bounds_of_images_stay_below_their_mass(recipe):
    space = Images(1, 1, 2, n_values=3)
    model = stirred(recipe, space)
    every, exact = exact_masses(model, space)
    bounds = model.log_prob(every.repeat_interleave(200, 0))
    nats = bounds.nats.view(9, 200).double()
    assert bounds.kind is Kind.LOWER_BOUND
    assert (nats.mean(1) < exact + 5 * nats.std(1) / math.sqrt(200) + 1e-3).all()
    assert 0 < exact.exp().sum() < 1 + 1e-3


def test_patches_are_joined_again_and_divide_odd_sizes():
    x = torch.randn(2, 3, 7, 10)
    assert (side(7, 4), side(10, 4), side(28, 4), side(12, 8)) == (1, 2, 4, 6)
    torch.testing.assert_close(from_patches(patches(x, 1, 2), (3, 7, 10), 1, 2), x)
    with pytest.raises(ValueError, match="must divide"):
        TransformerFlow(nn.Identity(), [Affine()], (1, 7, 10), (2, 2))


def test_denoising_follows_the_score_of_a_known_flow():
    """At the start the flow is the identity, so its score is -x and the step is a factor."""
    model = cards()["flow"].recipes["tarflow-noised"](Images(1, 4, 4, n_values=8), "xs")
    y = NoiseThenMap()(model.estimand, Noise(0, 0, 5))
    x = Denoised(0.3)(model.estimand, Noise(0, 0, 5))
    torch.testing.assert_close(x, y * (1 - 0.09), atol=1e-4, rtol=1e-4)


def test_a_flow_of_noised_images_claims_no_likelihood():
    model = cards()["flow"].recipes["tarflow-noised"](Images(1, 4, 4, n_values=8), "xs")
    likelihood = model.log_prob(torch.zeros(2, 1, 4, 4, dtype=torch.uint8))
    assert likelihood.kind is Kind.NONE
    assert "noised" in likelihood.note


# --- continuous flows -------------------------------------------------------------------------------------------------


@final
class Stretch(Part, nn.Module):
    """``v = A x``: the flow of a matrix exponential, of which everything is known."""

    def __init__(self, diagonal: tuple[float, ...]) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(diagonal))

    def forward(self, x, tau, cond=None):
        return x * self.rate


def test_the_continuous_loss_is_the_exact_likelihood_of_a_linear_flow():
    velocity = FreeVelocity(Stretch((0.7, -0.4)), (2,))
    x = torch.randn(64, 2)
    (term,) = ContinuousLikelihood(steps=8, kinetic=0.0).terms(velocity).values()
    scale = torch.tensor([-0.7, 0.4]).exp()
    exact = torch.distributions.Normal(torch.zeros(2), scale).log_prob(x).sum(1)
    torch.testing.assert_close(-2 * term(Batch(x)), exact, atol=1e-4, rtol=1e-4)
    assert term.watched["inverse_error"] < 1e-4
    estimate = ProbabilityFlow(8, None)(velocity, Batch(x), Noise(0, 0, 64), ContinuousLikelihood())
    torch.testing.assert_close(
        estimate.nats, exact, atol=1e-4, rtol=1e-4
    )  # of the data, at t = 0, and not of noised ones
    drawn = Heun(40)(velocity, Noise(0, 0, 4000))
    torch.testing.assert_close(drawn.std(0), scale, atol=0.03, rtol=0.05)


@pytest.mark.parametrize(
    "part",
    [
        *[{"sampler": s} for s in (DDPM(), EulerMaruyama(), StochasticHeun(), DPMSolver())],
        {"likelihood": DiffusionBound()},
    ],
)
def test_what_needs_a_score_is_refused_by_a_continuous_flow(part):
    """Its field is no conditional mean: a "lower bound" made from it lay seven nats below, its noisy samples
    elsewhere.
    """
    model = cards()["flow"].recipes["continuous"](Vectors(2), "xs")
    (name,) = (type(value).__name__ for value in part.values())
    with pytest.raises(TypeError, match=f"a VectorField, which ContinuousLikelihood learns, .* got {name}, which"):
        model.with_parts(**part)
    for sampler in (Euler(8), Heun(8)):
        assert model.with_parts(sampler=sampler).sample(3).shape == (3, 2)


def test_an_objective_that_learns_a_field_does_not_train_what_claims_a_score():
    model = cards()["flow"].recipes["continuous"](Vectors(2), "xs")
    claims = NetworkVelocity(model.estimand.net, (2,), RectifiedFlow())
    with pytest.raises(TypeError, match=r"no Velocity for ContinuousLikelihood, got NetworkVelocity.* a VectorField"):
        GenerativeModel(model.space, model.codec, claims, model.objective, model.sampler, model.likelihood)


def test_the_continuous_loss_is_stationary_at_the_truth():
    slopes = []
    for rate in (0.7, 0.9):
        torch.manual_seed(0)
        net = Stretch((rate, rate))
        (term,) = ContinuousLikelihood(steps=4, kinetic=0.0).terms(FreeVelocity(net, (2,))).values()
        term(Batch(torch.randn(20_000, 2) * math.exp(-0.7))).mean().backward()
        slopes.append(net.rate.grad.abs().max().item())
    assert slopes[0] < 0.02 < slopes[1]


# --- learned dequantisation -------------------------------------------------------------------------------------------


@dataclass
class Given:
    """Noise that is not random."""

    u: torch.Tensor

    def uniform(self, *shape: int) -> torch.Tensor:
        return self.u


def exact_masses(model, space, cells: int = 160):
    """``log P(x)`` of every image of two pixels: the density of the flow integrated over each cell."""
    u = torch.cartesian_prod(*[(torch.arange(cells) + 0.5) / cells] * 2).reshape(-1, 1, 1, 2)
    every = torch.cartesian_prod(*[torch.arange(space.n_values)] * 2).reshape(-1, 1, 1, 2).to(torch.uint8)
    nats = []
    for x in every:
        z, log_det = model.codec.encode(x.expand(len(u), -1, -1, -1), Given(u))
        with torch.no_grad():
            nats.append(log_density(model.estimand, z) + log_det)
    return every, torch.stack(nats).logsumexp(1) - math.log(len(u))


@pytest.mark.agreement
def test_learned_dequantisation_tightens_the_bound_and_keeps_it_one():
    space = Images(1, 1, 2, n_values=3)
    model = stirred("variational", space, 0.12)
    every, exact = exact_masses(model, space)
    uniform = model.with_parts(likelihood=ExactDensity())
    rows, (term,) = every.repeat_interleave(200, 0), model.terms().values()
    optimizer = torch.optim.Adam(model.objective.dequantiser.parameters(), 1e-2)
    for _ in range(150):
        loss = term(model.encode(every.repeat(20, 1, 1, 1))).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    plain, learned = (m.log_prob(rows).nats.view(9, 200).double() for m in (uniform, model))
    assert model.log_prob(every).kind is Kind.LOWER_BOUND
    for nats in (plain, learned):
        assert (nats.mean(1) < exact + 5 * nats.std(1) / math.sqrt(200) + 1e-3).all()
    assert learned.mean() > plain.mean()
    assert (exact.double() - learned.mean(1)).mean() < 0.7 * (exact.double() - plain.mean(1)).mean()


def test_learned_noise_starts_uniform_and_has_its_density():
    torch.manual_seed(0)
    net, x = ConvDequantiser(1, 8, 3), torch.randn(1, 1, 2, 2)
    _, log_q = net(x, torch.randn(1, 1, 2, 2))
    torch.testing.assert_close(log_q, torch.zeros(1), atol=1e-5, rtol=1e-5)
    for p in net.parameters():
        nn.init.normal_(p, std=0.2)
    eps = torch.randn(1, 1, 2, 2)
    _, log_q = net(x, eps)
    jacobian = torch.autograd.functional.jacobian(lambda e: net(x, e)[0].flatten(), eps).reshape(4, 4)
    normal = -(eps.square().sum() + 4 * math.log(2 * math.pi)) / 2
    torch.testing.assert_close(log_q[0], normal - jacobian.slogdet()[1], atol=1e-3, rtol=1e-3)


def test_levels_survive_every_redrawing_of_their_noise():
    model = stirred("variational", Images(1, 4, 4), 0.3)
    x = torch.randint(256, (50, 1, 4, 4)).to(torch.uint8)
    z, _ = model.objective.requantised(model.encode(x).x, torch.randn(50, 1, 4, 4))
    assert ((model.codec.decode(z).int() - x.int()).abs() > 0).float().mean() < 1e-2  # but for u rounded to 1


def test_learned_dequantisation_needs_its_objective():
    model = cards()["flow"].recipes["tarflow"](Images(1, 4, 4), "xs").with_parts(likelihood=VariationalDequantisation())
    with pytest.raises(TypeError, match="VariationalLikelihood"):
        model.log_prob(torch.zeros(2, 1, 4, 4, dtype=torch.uint8))


def test_glow_needs_something_to_couple():
    with pytest.raises(TypeError, match="an even side for couplings"):
        cards()["flow"].recipes["glow"](Images(1, 7, 7), "xs")
    with pytest.raises(ValueError, match="even side"):
        Glow((1, 7, 7))


def test_glow_normalises_by_its_first_batch_and_keeps_the_channels_mixing_exact():
    torch.manual_seed(0)
    net = Glow((2, 8, 6), 8, 2, 2)
    x = 3 + 5 * torch.randn(256, 2, 8, 6)
    z, log_det = net.train()(x, None, True)
    assert z.std().item() == pytest.approx(1, abs=0.1)
    assert abs(z.mean().item()) < 0.1
    again, back = net(z, None, False)
    torch.testing.assert_close(again, x, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(back, -log_det, atol=1e-2, rtol=1e-4)
