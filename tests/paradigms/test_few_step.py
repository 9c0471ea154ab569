"""Few steps: exact jumps, objectives at the truth, what a student inherits, and the samplers."""

import math

import pytest
import torch

from fourfold import checks
from fourfold.core import Batch, GenerativeModel, Noise, view
from fourfold.data.oracles import GaussianAverage, GaussianDenoiser, MixtureDenoiser
from fourfold.estimands import AverageVelocity, ConsistencyFunction, Denoiser, Velocity
from fourfold.estimands.preconditioned import ConsistencyNetwork, NetworkAverage, Preconditioned
from fourfold.maths.paths import EDM, VP, Cosine, RectifiedFlow, time_at
from fourfold.paradigms import build, cards, few_step
from fourfold.recipes.diffusion import parts
from fourfold.samplers.ode import DDIM, DPMSolver, Heun, trajectory
from fourfold.spaces import Images, Text, Vectors
from fourfold.vocabulary import Kind

MEAN = (0.3, -0.2, 0.1)
COVARIANCE = ((1.0, 0.5, 0.0), (0.5, 0.8, -0.3), (0.0, -0.3, 0.6))
PATHS = (EDM(), VP(), Cosine(), RectifiedFlow())


def average(path):
    return GaussianAverage(path, MEAN, COVARIANCE)


def draw(seed, n=256):
    generator = torch.Generator().manual_seed(seed)
    factor = torch.linalg.cholesky(torch.tensor(COVARIANCE))
    return torch.randn(n, 3, generator=generator) @ factor.T + torch.tensor(MEAN)


def teacher(path):
    """A model of vectors whose denoiser is exact."""
    model = cards()["diffusion"].recipes["denoising"](Vectors(3), "xs")
    oracle = GaussianDenoiser(path, MEAN, COVARIANCE)
    return GenerativeModel(model.space, model.codec, oracle, model.objective, model.sampler, model.likelihood)


def times(path, n=32):
    """``t > s``, from everywhere on the path."""
    generator = torch.Generator().manual_seed(0)
    log_snr = torch.rand(2, n, generator=generator).double() * 6 - 3
    t, s = time_at(path, log_snr.min(0).values), time_at(path, log_snr.max(0).values)
    return t, s


# --- estimands and views ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS, ids=lambda p: type(p).__name__)
def test_the_exact_jump_is_where_a_fine_solver_arrives(path):
    velocity = view(GaussianDenoiser(path, MEAN, COVARIANCE), Velocity)
    t, s = times(path)
    x_t = path.noised(draw(1, 32).double(), torch.randn(32, 3, dtype=torch.float64), t)
    x, steps = x_t, 400
    for i in range(steps):
        a, b = t + (s - t) * i / steps, t + (s - t) * (i + 1) / steps
        v = velocity(x, a)
        x = x + (b - a)[:, None] / 2 * (v + velocity(x + (b - a)[:, None] * v, b))
    jump = x_t + (s - t)[:, None] * average(path)(x_t, t, s)
    assert torch.allclose(jump, x, atol=5e-3 * float(x_t.std()))


@pytest.mark.parametrize("path", PATHS, ids=lambda p: type(p).__name__)
def test_the_average_over_no_time_is_the_velocity(path):
    t, _ = times(path)
    x_t = torch.randn(32, 3, dtype=torch.float64)
    exact = view(GaussianDenoiser(path, MEAN, COVARIANCE), Velocity)(x_t, t)
    assert torch.allclose(view(average(path), Velocity)(x_t, t), exact, rtol=1e-6, atol=1e-8)


def test_the_oracle_of_jumps_agrees_with_itself_in_parts():
    oracle, t, s = average(VP()), *times(VP())
    x_t, middle = torch.randn(32, 3, dtype=torch.float64), (t + s) / 2
    x_m = x_t + (middle - t)[:, None] * oracle(x_t, t, middle)
    x_s = x_m + (s - middle)[:, None] * oracle(x_m, middle, s)
    assert torch.allclose(x_s, x_t + (s - t)[:, None] * oracle(x_t, t, s), atol=1e-9)


@pytest.mark.parametrize("path", PATHS, ids=lambda p: type(p).__name__)
def test_a_student_starts_as_its_teacher(path):
    """With a second time of no weight, a jump is one step of DDIM, and a jump of no length the teacher's velocity."""
    torch.manual_seed(0)
    teacher_model = cards()["diffusion"].recipes["denoising"](Vectors(3), "xs")
    for p in teacher_model.estimand.parameters():
        p.data.add_(0.05 * torch.randn_like(p))
    denoiser = Preconditioned(teacher_model.estimand.net, (3,), path, 1.0)
    model = GenerativeModel(
        teacher_model.space,
        teacher_model.codec,
        denoiser,
        teacher_model.objective,
        teacher_model.sampler,
        teacher_model.likelihood,
    )
    net = parts(Vectors(3), "xs", times=2).net
    student = NetworkAverage(net, (3,), path, 1.0)
    few_step.TrajectoryDistillation(model, paths=8, sigma_data=1.0).ready(student)
    t, s = (time.float() for time in times(path))
    x_t = torch.randn(32, 3)
    with torch.no_grad():
        ratio = (path.sigma(s) / path.sigma(t))[:, None]
        expected = ratio * x_t + (path.alpha(s)[:, None] - path.alpha(t)[:, None] * ratio) * denoiser(x_t, t)
        assert torch.allclose(x_t + (s - t)[:, None] * student(x_t, t, s), expected, atol=1e-4 * float(t.max()))
        assert torch.allclose(view(student, Velocity)(x_t, t), view(denoiser, Velocity)(x_t, t), atol=1e-4)


@pytest.mark.parametrize("path", [EDM(), VP(), RectifiedFlow()], ids=lambda p: type(p).__name__)
def test_a_consistency_network_leaves_the_boundary_alone(path):
    torch.manual_seed(0)
    net = parts(Vectors(3), "xs").net
    for p in net.parameters():
        p.data.add_(0.1 * torch.randn_like(p))
    f, x = ConsistencyNetwork(net, (3,), path, 1.0), torch.randn(8, 3)
    assert torch.allclose(f(x, torch.full((8,), path.t_min)), x, atol=1e-5)
    assert not torch.allclose(f(x, torch.full((8,), path.t_max)), x, atol=1e-2)


# --- objectives at the truth ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [RectifiedFlow(), VP()], ids=lambda p: type(p).__name__)
def test_mean_flow_is_stationary_at_the_truth(path):
    checks.check_stationary(few_step.MeanFlow(), average(path), draw, batches=24, directions=2)


class MixtureAverage(AverageVelocity):
    """The average velocity of a mixture of one number, by 2 Runge-Kutta steps of its exact velocity."""

    event, path = (1,), RectifiedFlow()

    def __init__(self):
        super().__init__()
        oracle = MixtureDenoiser(self.path, (0.9, 0.1), ((-0.5,), (2.5,)), (((0.2,),), ((0.2,),)))
        self.velocity = view(oracle, Velocity)

    def forward(self, x_t, t, s, cond=None):
        h, x, at = (s - t) / 2, x_t, t
        for _ in range(2):
            k1 = self.velocity(x, at)
            k2 = self.velocity(x + h[:, None] / 2 * k1, at + h / 2)
            k3 = self.velocity(x + h[:, None] / 2 * k2, at + h / 2)
            k4 = self.velocity(x + h[:, None] * k3, at + h)
            x, at = x + h[:, None] / 6 * (k1 + 2 * k2 + 2 * k3 + k4), at + h
        same = (s == t)[:, None]
        return torch.where(same, self.velocity(x_t, t), (x - x_t) / torch.where(same, 1, (s - t)[:, None]))


def uneven(seed):
    """Nine of ten about -0.5, one about 2.5."""
    generator = torch.Generator().manual_seed(seed)
    rare = torch.rand(4096, 1, generator=generator) < 0.1
    return torch.where(rare, 2.5, -0.5) + math.sqrt(0.2) * torch.randn(4096, 1, generator=generator)


def test_mean_flow_is_stationary_at_the_truth_of_an_uneven_mixture_by_default_and_not_with_adaptive_weights():
    """A weight that falls with an example's own loss favours the frequent mode; on a Gaussian symmetry hides it."""
    checks.check_stationary(few_step.MeanFlow(), MixtureAverage(), uneven, batches=8, directions=2)
    with pytest.raises(checks.CheckFailed, match="slope"):
        checks.check_stationary(few_step.MeanFlow(power=0.75), MixtureAverage(), uneven, batches=8, directions=2)


def test_mean_flow_is_not_stationary_elsewhere():
    wrong = GaussianAverage(RectifiedFlow(), (1.3, -0.2, 0.1), COVARIANCE)
    with pytest.raises(checks.CheckFailed):
        checks.check_stationary(few_step.MeanFlow(), wrong, draw, batches=24, directions=2)


def test_mean_flow_draws_pairs_as_asked():
    t, s = few_step.MeanFlow(mean=0.0, apart=0.3)._times(RectifiedFlow(), 20_000, torch.device("cpu"))
    assert bool((t >= s).all())
    assert (t > s).double().mean().item() == pytest.approx(0.3, abs=0.02)
    assert ((t + s) / 2).mean().item() == pytest.approx(0.5, abs=0.01)


def losses(objective, estimand, batches=10, n=256):
    """Mean loss of each batch."""
    (term,) = objective.terms(estimand).values()
    return torch.stack([term(Batch(draw(seed, n))).mean() for seed in range(batches)])


@pytest.mark.parametrize("path", [EDM(), RectifiedFlow()], ids=lambda p: type(p).__name__)
def test_trajectory_distillation_is_least_at_the_truth(path):
    """The teacher being exact, only its solver's error is left at the exact average velocity."""
    torch.manual_seed(0)
    objective = few_step.TrajectoryDistillation(teacher(path), steps=30, paths=64, sets=2, every=8, sigma_data=1.0)
    wrong = GaussianAverage(path, (0.5, -0.2, 0.1), COVARIANCE)
    assert losses(objective, average(path)).mean() < 0.1 * losses(objective, wrong).mean()


@pytest.mark.parametrize("path", [EDM(), RectifiedFlow()], ids=lambda p: type(p).__name__)
def test_consistency_distillation_is_least_at_the_truth(path):
    torch.manual_seed(0)
    objective = few_step.ConsistencyDistillation(teacher(path), steps=40)
    truth = view(average(path), ConsistencyFunction)
    wrong = view(GaussianAverage(path, (0.5, -0.2, 0.1), COVARIANCE), ConsistencyFunction)
    assert losses(objective, truth).mean() < 0.1 * losses(objective, wrong).mean()


def test_paths_are_solved_anew_one_set_at_a_time():
    torch.manual_seed(0)
    objective = few_step.TrajectoryDistillation(teacher(EDM()), steps=5, paths=8, sets=3, every=2)
    (term,) = objective.terms(average(EDM())).values()
    seen = []
    for _ in range(9):
        before = objective.states.clone()
        term(Batch(draw(0, 16)))
        changed = (objective.states != before).flatten(1).any(1)
        seen.append(changed.nonzero().flatten().tolist())
    assert seen == [[0], [], [1], [], [2], [], [0], [], [1]]


def test_the_paths_of_a_teacher_are_its_solver_s():
    """States approach the solved ODE at the solver's order, and end where DPM-Solver++ does from the same noise."""
    oracle, exact = GaussianDenoiser(EDM(), MEAN, COVARIANCE), average(EDM())
    noise = Noise(0, 0, 16).normal(3).double() * 80
    errors = []
    for steps in (20, 80):
        times = EDM().grid(steps)
        states = trajectory(oracle, noise, times)
        assert states.shape == (steps + 1, 16, 3)
        t = torch.full((16,), 80.0).double()
        jumps = torch.stack([noise + (s - t)[:, None] * exact(noise, t, s.expand(16)) for s in times])
        # in units of what is there: the states at the noise are 80 times those at the end
        scale = torch.sqrt(1 + times**2)[:, None, None]
        errors.append(float(((states - jumps) / scale).abs().max()))
    assert errors[0] < 0.12
    assert errors[1] < errors[0] / 10  # 16 at second order
    assert torch.allclose(states[-1].float(), DPMSolver(80)(oracle, Noise(0, 0, 16)), atol=1e-2)


def test_times_between_are_shifted_together_and_ends_are_kept():
    torch.manual_seed(0)
    grids = torch.stack([few_step._jittered(EDM(), 8) for _ in range(50)])
    assert bool((grids.diff(dim=1) < 0).all())
    assert bool((grids[:, 0] == grids[0, 0]).all() and (grids[:, -1] == grids[0, -1]).all())
    assert len(set(grids[:, 3].tolist())) > 10


# --- samplers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS, ids=lambda p: type(p).__name__)
def test_one_exact_jump_gives_the_exact_distribution(path):
    x = few_step.Jumps(1)(average(path), Noise(0, 0, 20_000))
    assert torch.allclose(x.mean(0), torch.tensor(MEAN), atol=0.03)
    assert torch.allclose(x.T.cov(), torch.tensor(COVARIANCE), atol=0.04)
    assert torch.allclose(few_step.Jumps(4)(average(path), Noise(0, 0, 20_000)), x, atol=2e-3)


@pytest.mark.parametrize("path", PATHS, ids=lambda p: type(p).__name__)
def test_renoising_keeps_the_exact_distribution(path):
    function = view(average(path), ConsistencyFunction)
    single, three = (few_step.Renoised(steps)(function, Noise(0, 0, 20_000)) for steps in (1, 3))
    assert not torch.allclose(single, three, atol=0.1)
    assert torch.allclose(three.mean(0), torch.tensor(MEAN), atol=0.03)
    assert torch.allclose(three.T.cov(), torch.tensor(COVARIANCE), atol=0.04)


def test_every_sampler_of_diffusion_runs_on_an_average_velocity():
    """Seen as a denoiser, the exact jump is the exact denoiser: every solver returns the same samples from both."""
    oracle, seen = GaussianDenoiser(EDM(), MEAN, COVARIANCE), view(average(EDM()), Denoiser)
    for sampler in (DDIM(30), DPMSolver(20), Heun(12)):
        samples, other = (sampler(view(estimand, sampler.needs), Noise(0, 0, 64)) for estimand in (oracle, seen))
        assert torch.allclose(samples, other, atol=1e-3)


def test_a_sampler_of_no_steps_is_refused():
    for sampler in (few_step.Jumps(0), few_step.Renoised(0)):
        with pytest.raises(ValueError, match="steps must be at least 1"):
            sampler(view(average(EDM()), sampler.needs), Noise(0, 0, 4))


# --- presets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", ["distilled", "consistency"])
def test_a_teacher_is_a_stage_of_its_own(recipe):
    model = cards()["few-step"].recipes[recipe](Images(1, 8, 8, 17), "xs")
    (stage,) = model.stages()
    assert isinstance(stage.model.estimand, Denoiser)
    trained = {p for term in model.terms().values() for p in term.trainable()}
    assert not trained & set(stage.model.parameters())
    for p in stage.model.parameters():
        p.data.normal_()
    model.objective.ready(model.estimand)
    inherited = stage.model.estimand.net.state_dict()
    own = model.estimand.net.state_dict()
    assert all(torch.equal(own[name], value) for name, value in inherited.items())


def test_the_card_says_that_the_likelihood_is_lost():
    assert build("few-step", Vectors(2), "xs").facts.likelihood is Kind.NONE
    model = cards()["few-step"].recipes["mean-flow"](Vectors(2), "xs")
    result = model.log_prob(torch.randn(3, 2))
    assert result.kind is Kind.NONE
    assert "few-step samples have no tractable density" in result.note
    assert isinstance(view(model.estimand, Velocity), Velocity)  # the many-step ODE's density is a view away


def test_text_is_refused():
    for recipe in cards()["few-step"].recipes.values():
        with pytest.raises(TypeError):
            recipe(Text("ab", length=4), "xs")
