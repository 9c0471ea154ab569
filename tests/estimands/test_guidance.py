"""Guidance against exact mixtures: with weight one each form is the conditional distribution, by Bayes' rule."""

import math

import pytest
import torch
from torch import nn

from fourfold.core import Noise, Part, configuration, construct, count_evaluations, view
from fourfold.data.oracles import GaussianTransport, MixtureDenoiser
from fourfold.estimands import Denoiser, NoisePredictor, Score, Velocity
from fourfold.estimands.guidance import (
    AutoGuided,
    ClassifierGuided,
    Guided,
    GuidedField,
    classifier_free,
    guided,
)
from fourfold.maths.paths import EDM, VE, VP, RectifiedFlow
from fourfold.paradigms import build
from fourfold.samplers.ode import DPMSolver
from fourfold.spaces import Categories, Vectors

MIXTURE = ((0.5, 0.5), ((-1.0, 0.0), (1.0, 0.5)), (((0.2, 0.0), (0.0, 0.3)),) * 2)


def points(path):
    generator = torch.Generator().manual_seed(0)
    t = torch.linspace(0.2, 0.8, 12) * (path.t_max - path.t_min)
    return torch.randn(12, 2, generator=generator) * 2, t, torch.arange(12) % 2


def test_guidance_at_scale_one_is_conditional_and_at_zero_unconditional():
    oracle = MixtureDenoiser(EDM(), *MIXTURE)
    x, t, cond = points(oracle.path)
    assert torch.equal(Guided(oracle, 1.0)(x, t, cond), oracle(x, t, cond))
    assert torch.allclose(Guided(oracle, 0.0)(x, t, cond), oracle(x, t, None))
    assert torch.equal(Guided(oracle, 3.0)(x, t), oracle(x, t))
    unknown = torch.full_like(cond, -1)
    assert torch.allclose(Guided(oracle, 3.0)(x, t, unknown), oracle(x, t))


def test_guidance_extrapolates_by_one_doubled_call():
    oracle = MixtureDenoiser(EDM(), *MIXTURE)
    x, t, cond = points(oracle.path)
    with count_evaluations(guided := Guided(oracle, 2.5)) as count:
        out = guided(x, t, cond)
    assert (count.calls, count.rows) == (1, 24)
    assert torch.allclose(out, oracle(x, t) + 2.5 * (oracle(x, t, cond) - oracle(x, t)), atol=1e-5)


def test_guiding_a_velocity_is_guiding_its_denoiser():
    oracle = MixtureDenoiser(RectifiedFlow(), *MIXTURE)
    x, t, cond = points(oracle.path)
    of_velocity = Guided(view(oracle, Velocity), 2.0)
    assert torch.allclose(of_velocity(x, t, cond), Guided(oracle, 2.0)(x, t, cond), atol=1e-5)


def test_guidance_moves_samples_away_from_the_other_class():
    oracle = MixtureDenoiser(EDM(), *MIXTURE)
    cond = torch.zeros(512, dtype=torch.long)
    with torch.no_grad():
        plain = DPMSolver(20)(Guided(oracle, 1.0), Noise(0, 0, 512), cond)
        pushed = DPMSolver(20)(Guided(oracle, 2.0), Noise(0, 0, 512), cond)
    assert plain[:, 0].mean().item() == pytest.approx(-1.0, abs=0.1)
    assert pushed[:, 0].mean() < plain[:, 0].mean() - 0.1
    assert math.isfinite(float(pushed.sum()))


@pytest.mark.parametrize("path", [EDM(), VP(), RectifiedFlow()], ids=lambda p: type(p).__name__)
def test_an_interval_guides_only_its_noise_levels(path):
    oracle = MixtureDenoiser(path, *MIXTURE)
    x, t, cond = points(path)
    rho = torch.exp(-path.log_snr(t))
    low, high = float(rho[3]), float(rho[8])
    out = Guided(oracle, 3.0, (low, high))(x, t, cond)
    everywhere = Guided(oracle, 3.0)(x, t, cond)
    assert torch.allclose(out[4:9], everywhere[4:9])
    for rest in (slice(0, 4), slice(9, 12)):
        assert torch.allclose(out[rest], oracle(x, t, cond)[rest])
    with count_evaluations(outside := Guided(oracle, 3.0, (1e-9, 1e-8))) as count:
        outside(x, t, cond)
    assert count.rows == 12


def test_an_empty_interval_is_refused():
    with pytest.raises(ValueError, match="0 <= low < high"):
        Guided(MixtureDenoiser(EDM(), *MIXTURE), 2.0, (3.0, 1.0))


def test_autoguidance_leads_from_the_weak_model_through_the_good_one():
    oracle = MixtureDenoiser(EDM(), *MIXTURE)
    weak = MixtureDenoiser(EDM(), MIXTURE[0], MIXTURE[1], (((0.6, 0.0), (0.0, 0.9)),) * 2)
    x, t, cond = points(oracle.path)
    assert torch.allclose(AutoGuided(oracle, weak, 0.0)(x, t, cond), weak(x, t, cond))
    assert torch.equal(AutoGuided(oracle, weak, 1.0)(x, t, cond), oracle(x, t, cond))
    far = AutoGuided(oracle, view(weak, Velocity), 2.0)(x, t, cond)
    assert torch.allclose(far, 2 * oracle(x, t, cond) - weak(x, t, cond), atol=1e-4)
    with pytest.raises(ValueError, match="path"):
        AutoGuided(oracle, MixtureDenoiser(VP(), *MIXTURE))


def test_a_weak_model_that_is_too_wide_makes_samples_narrower():
    data, weak = (MixtureDenoiser(EDM(), (1.0,), ((0.0,),), (((v,),),)) for v in (1.0, 1.5))
    with torch.no_grad():
        x = DPMSolver(20)(AutoGuided(data, weak, 1.5), Noise(0, 0, 512))
    assert 0.7 < x.std().item() < 0.95


class Posterior(Part, nn.Module):
    """``log p(k | x_t)`` of a mixture, up to a constant."""

    def __init__(self, oracle: Denoiser):
        super().__init__()
        self.oracle = oracle

    def forward(self, x_t, t):
        return self.oracle.net.components(x_t, self.oracle.path.alpha(t), self.oracle.path.sigma(t), None)[0]


@pytest.mark.parametrize("path", [EDM(), VE(), VP(), RectifiedFlow()], ids=lambda p: type(p).__name__)
def test_the_exact_classifier_gives_the_conditional_score(path):
    oracle = MixtureDenoiser(path, *MIXTURE)
    x, t, cond = points(path)
    x, t = x.double(), t.double()
    by_classifier = ClassifierGuided(oracle, Posterior(oracle))(x, t, cond)
    assert torch.allclose(by_classifier, oracle(x, t, cond), atol=1e-8)
    assert torch.equal(ClassifierGuided(oracle, Posterior(oracle))(x, t), oracle(x, t))
    unknown = torch.full_like(cond, -1)
    assert torch.allclose(ClassifierGuided(oracle, Posterior(oracle))(x, t, unknown), oracle(x, t))
    alone = torch.autograd.functional.jacobian(lambda y: oracle.log_prob(y, t, cond).sum(), x)
    assert torch.allclose(view(ClassifierGuided(oracle, Posterior(oracle)), Score)(x, t, cond), alone, atol=1e-5)


@pytest.mark.parametrize("path", [VP(), RectifiedFlow()], ids=lambda p: type(p).__name__)
def test_classifier_free_guidance_at_any_scale_is_a_power_of_the_posterior(path):
    """The score of p(x) p(c | x)^w at each level, by autograd of the exact densities."""
    oracle, w = MixtureDenoiser(path, *MIXTURE), 2.5
    x, t, cond = points(path)
    x, t = x.double().requires_grad_(), t.double()
    log_p = (1 - w) * oracle.log_prob(x, t) + w * oracle.log_prob(x, t, cond)
    (score,) = torch.autograd.grad(log_p.sum(), x)
    assert torch.allclose(view(Guided(oracle, w), Score)(x, t, cond), score, atol=1e-7)


@pytest.mark.parametrize("wrap", [Guided, lambda e: AutoGuided(e, e), lambda e: ClassifierGuided(e, e)])
def test_a_field_without_a_score_is_not_wrapped_as_if_it_had_one(wrap):
    field = GaussianTransport(RectifiedFlow(), (0.3, -0.2), ((1.0, 0.5), (0.5, 0.8)))
    with pytest.raises(TypeError, match="have a view as one, got GaussianTransport"):
        wrap(field)


def test_a_guided_field_extrapolates_and_stays_a_field():
    model = build("flow/continuous", Vectors(2, given=Categories.numbered(3)), "xs")
    for p in model.estimand.parameters():
        p.data.add_(0.1 * torch.randn_like(p))
    strong = classifier_free(model, 3.0)
    assert isinstance(strong.estimand, GuidedField)
    x, t, cond = torch.randn(5, 2), torch.rand(5), torch.tensor([0, 1, 2, 0, -1])
    conditional, unknown = model.estimand(x, t, cond), model.estimand(x, t, torch.full_like(cond, -1))
    torch.testing.assert_close(strong.estimand(x, t, cond), unknown + 3 * (conditional - unknown), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(strong.estimand(x, t), model.estimand(x, t))
    with pytest.raises(TypeError, match="must be a Denoiser or have a view as one"):
        view(strong.estimand, Denoiser)
    assert not torch.equal(strong.sample(5, cond=1), model.sample(5, cond=1))


@pytest.mark.parametrize("recipe", ["diffusion", "diffusion/velocity", "diffusion/vp", "diffusion/ve"])
def test_every_estimand_can_be_guided(recipe):
    torch.manual_seed(0)
    model = build(recipe, Vectors(2, given=Categories.numbered(3)), "xs")
    for p in model.estimand.parameters():
        p.data.add_(0.05 * torch.randn_like(p))
    same = guided(model, lambda d: Guided(d, 1.0))
    assert torch.allclose(same.sample(5, cond=1), model.sample(5, cond=1), atol=1e-3)
    assert not torch.allclose(
        guided(model, lambda d: Guided(d, 4.0)).sample(5, cond=1), same.sample(5, cond=1), atol=1e-3
    )
    assert construct(configuration(same.estimand)).path == model.estimand.path
    assert isinstance(same.estimand, Denoiser | NoisePredictor | Velocity | Score)
