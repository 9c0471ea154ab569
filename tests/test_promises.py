"""The promises of the design, on everything the walk finds: stationarity, ranks, mass, bounds."""

import math
from dataclasses import replace

import pytest
import torch

from fourfold import checks
from fourfold.codecs import Standardised
from fourfold.core import GenerativeModel, view
from fourfold.data import GaussianDenoiser, load
from fourfold.engine import fit
from fourfold.estimands import Denoiser, Velocity
from fourfold.likelihoods import DiffusionBound, ProbabilityFlow
from fourfold.maths.paths import EDM, RectifiedFlow
from fourfold.paradigms import build, cards
from fourfold.paradigms.diffusion import Denoising, FlowMatching
from fourfold.samplers.ode import DPMSolver
from fourfold.spaces import Images, Text, Vectors
from fourfold.vocabulary import Kind

MEAN = [0.4, -0.3]
COVARIANCE = [[0.5, 0.2], [0.2, 0.3]]


def gaussian_batch(seed: int) -> torch.Tensor:
    noise = torch.randn(256, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.tensor(MEAN) + noise @ torch.linalg.cholesky(torch.tensor(COVARIANCE, dtype=torch.float64)).T


def test_denoising_is_stationary_at_the_truth() -> None:
    checks.check_stationary(Denoising(label_dropout=0.0), GaussianDenoiser(EDM(), MEAN, COVARIANCE), gaussian_batch)


def test_flow_matching_is_stationary_at_the_truth() -> None:
    oracle = view(GaussianDenoiser(RectifiedFlow(), MEAN, COVARIANCE), Velocity)
    checks.check_stationary(FlowMatching(label_dropout=0.0), oracle, gaussian_batch)


def test_the_check_of_stationarity_can_fail() -> None:
    wrong = GaussianDenoiser(EDM(), [0.7, 0.0], COVARIANCE)
    with pytest.raises(checks.CheckFailed, match="slope"):
        checks.check_stationary(Denoising(label_dropout=0.0), wrong, gaussian_batch)


def of_vectors() -> list[str]:
    """Cards that model vectors; the others are of images alone."""
    names = []
    for name in cards():
        try:
            build(name, Vectors(2), "xs")
        except TypeError:
            continue
        names.append(name)
    return names


@pytest.mark.parametrize("sharded", [False, True])
def test_two_gloo_ranks_equal_one_process(sharded: bool) -> None:
    """Of every card, in one pair of processes: by DDP and by FSDP. All recipes, and four: ``tests/test_ranks.py``."""
    models = []
    for name in cards():
        space = Vectors(2) if name in of_vectors() else Images(1, 8, 8, n_values=17)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            models.append(build(name, space, "xs"))
    checks.check_ranks(*models, sharded=sharded)


def oracle_model(oracle: Denoiser, likelihood: object) -> GenerativeModel:
    space = Vectors(2)
    return GenerativeModel(space, Standardised(space), oracle, Denoising(), DPMSolver(), likelihood)


@pytest.mark.parametrize(
    "likelihood", [ProbabilityFlow(steps=48), ProbabilityFlow(steps=48, probes=8), DiffusionBound(draws=128)]
)
def test_likelihoods_of_a_known_gaussian(likelihood: object) -> None:
    x = gaussian_batch(0).float()
    truth = torch.distributions.MultivariateNormal(
        torch.tensor(MEAN, dtype=torch.float64), torch.tensor(COVARIANCE, dtype=torch.float64)
    ).log_prob(x.double())
    checks.check_known_density(oracle_model(GaussianDenoiser(EDM(), MEAN, COVARIANCE), likelihood), x, truth)


def test_the_check_of_densities_can_fail() -> None:
    x = gaussian_batch(0).float()
    model = oracle_model(GaussianDenoiser(EDM(), MEAN, COVARIANCE), ProbabilityFlow(steps=48))
    with pytest.raises(checks.CheckFailed, match="off by"):
        checks.check_known_density(model, x, torch.zeros(len(x)))


@pytest.mark.parametrize("space", [Images(1, 1, 3, n_values=5), Text("abc", length=4)], ids=["image", "text"])
def test_masses_sum_to_one_by_enumeration(space: object) -> None:
    checks.check_integrates(build("autoregressive", space, "xs"), tolerance=1e-3)


@pytest.mark.agreement
def test_bounds_stay_below_the_estimate_of_the_same_model() -> None:
    """Of one trained model: variational bound <= ODE likelihood + errors; and no bound above the true entropy."""
    data = load("gaussian-mixture")
    model = fit("diffusion", "gaussian-mixture", budget="300 steps", size="xs", precision="float32").model
    x = data.test.x[:400]
    flow = model.with_parts(likelihood=ProbabilityFlow()).log_prob(x)
    bound = model.with_parts(likelihood=DiffusionBound()).log_prob(x)
    assert (flow.kind, bound.kind) == (Kind.ESTIMATE, Kind.LOWER_BOUND)
    truth = data.density.log_prob(x).mean().item()
    error = 4 * math.hypot(bound.mean()[1], flow.mean()[1])
    assert bound.mean()[0] < flow.mean()[0] + error
    assert bound.mean()[0] < truth + error
    assert flow.mean()[0] > truth - 1.0  # trained, it is a likelihood of this data and not of anything


CLOSED_FORMS = {"adversarial", "autoregressive", "diffusion", "energy", "few-step", "flow", "latent-variable"}
"""Paradigms that ``tests/paradigms/test_conditions.py`` trains until they have a law in closed form."""


@pytest.mark.agreement
@pytest.mark.parametrize("name", [name for name in of_vectors() if name not in CLOSED_FORMS])
def test_learned_vectors_resemble_the_data(name: str) -> None:
    """Every other paradigm learns something of two moons in 150 steps, a game in more: it is closer to the data than
    shuffled columns are.
    """
    from fourfold.metrics import mmd

    data = load("two-moons")
    steps = 400 if name == "adversarial-student" else 150
    training = replace(build(name, data.space, "xs").training_defaults, batch_size=128)
    model = fit(name, data, budget=f"{steps} steps", size="xs", precision="float32", training=training).model
    x, y = model.sample(1000), data.test.x[:1000]
    shuffled = torch.stack([y[:, 0], y[torch.randperm(len(y), generator=torch.Generator().manual_seed(0)), 1]], 1)
    assert mmd(x, y, features="raw").value < mmd(shuffled, y, features="raw").value


def test_the_denoiser_oracle_is_what_the_checks_see() -> None:
    checks.check_views(GaussianDenoiser(EDM(), MEAN, COVARIANCE), (2,))
    assert issubclass(GaussianDenoiser, Denoiser)
