"""Flows: log-determinants against autograd, round trips, densities that integrate to one and learn a known one."""

import math

import pytest
import torch
from torch import nn

from fourfold import checks
from fourfold.core import Noise, count_evaluations
from fourfold.data import load
from fourfold.engine import fit
from fourfold.paradigms.flow import CARD, NoiseThenMap, inverse_error
from fourfold.spaces import Text, Vectors
from fourfold.vocabulary import Kind

VECTOR_RECIPES = ["likelihood", "mixture", "maf", "coupling", "realnvp"]


def stirred(recipe: str, space, std: float = 0.06):
    """A small model whose weights are far from their start."""
    torch.manual_seed(0)
    model = CARD.recipes[recipe](space, "xs")
    for p in model.estimand.parameters():
        p.data.add_(std * torch.randn_like(p))
    return model.eval()


@pytest.mark.parametrize("recipe", VECTOR_RECIPES)
def test_log_determinants_are_those_of_autograd(recipe):
    model = stirred(recipe, Vectors(4, classes=2))
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


def test_a_learned_density_is_the_known_one():
    data = load("gaussian-mixture")
    model = fit("flow", data, budget="300 steps", size="xs", precision="float32").model
    x = data.test.x[:1000]
    found = model.log_prob(x)
    difference = found.nats.double() - data.density.log_prob(x)
    error = 4 * difference.std().item() / math.sqrt(len(x))
    assert found.kind is Kind.EXACT
    assert -0.15 < difference.mean() < error
    checks.check_integrates(model, reach=12.0)


def test_evaluations_are_counted_in_whole_networks():
    for recipe, drawing in (("mixture", 3), ("likelihood", 3), ("coupling", 1)):
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
    model = stirred("likelihood", Vectors(2, classes=2))
    x = torch.randn(8, 2)
    assert not torch.allclose(model.log_prob(x, 0).nats, model.log_prob(x, 1).nats)


def test_refusals():
    with pytest.raises(TypeError, match="Text"):
        CARD.recipes["likelihood"](Text(), "xs")
    with pytest.raises(TypeError, match="at least 2"):
        CARD.recipes["coupling"](Vectors(1), "xs")


def test_dropout_leaves_sampling_and_scoring_alone():
    model = stirred("likelihood", Vectors(2))
    for module in model.modules():
        if hasattr(module, "drop"):
            module.drop = 0.5
    x = torch.randn(4, 2)
    torch.testing.assert_close(model.log_prob(x).nats, model.log_prob(x).nats)
    assert isinstance(model.estimand.net, nn.Module)
    assert len(Noise(0, 0, 3)) == 3
