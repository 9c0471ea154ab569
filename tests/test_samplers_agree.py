"""Every sampler and likelihood that a model accepts tells of one distribution."""

import pytest
import torch

from fourfold import checks, core, data
from fourfold.core import GenerativeModel
from fourfold.data.oracles import GaussianFlow, GaussianTransport
from fourfold.engine import fit
from fourfold.estimands import Score, VectorField, Velocity
from fourfold.paradigms import build, recipes
from fourfold.paths import RectifiedFlow
from fourfold.spaces import Images, Text

SPACES = (Images(1, 8, 8, levels=17), Text("abcdef", length=24))
"""Spaces that a check leaves to the oracle, since no integral runs over them."""
MEAN, COVARIANCE = (0.5, -0.3), ((1.0, 0.6), (0.6, 0.8))


def on_an_oracle(recipe: str) -> GenerativeModel | None:
    """A model whose own networks are not asked: only the exact estimand in its seat is."""
    for space in SPACES:
        try:
            return build(recipe, space, "xs")
        except TypeError:
            continue
    return None


@pytest.mark.parametrize("recipe", recipes())
def test_every_recipe_agrees_on_the_exact_estimand(recipe):
    model = on_an_oracle(recipe)
    if model is None:
        pytest.skip(f"{recipe} models vectors only")
    checks.check_samplers_agree(model, 500)


@pytest.mark.parametrize("recipe", ["autoregressive", "diffusion/velocity", "diffusion/optimal-transport"])
def test_a_trained_model_agrees_with_itself(recipe):
    x = GaussianFlow(MEAN, COVARIANCE)(torch.randn(2000, 2, generator=torch.Generator().manual_seed(0)))
    run = fit(recipe, data.load(x), budget="200 steps", size="xs", precision="float32")
    checks.check_samplers_agree(run.model, 500)


class Claimed(Velocity):
    def __init__(self, field):
        super().__init__()
        self.field, self.path, self.event = field, field.path, field.event

    def forward(self, x_t, t, cond=None):
        return self.field(x_t, t, cond)


def test_a_view_that_lies_is_found(monkeypatch):
    """As if a field of optimally coupled noise could be seen as a velocity, and so as a score."""
    model = on_an_oracle("diffusion/optimal-transport")
    assert isinstance(model.estimand, VectorField)
    assert not isinstance(model.estimand, Velocity)
    checks.check_samplers_agree(model, 500)
    monkeypatch.setitem(core._VIEWS, (VectorField, Velocity), Claimed)
    assert isinstance(core.view(GaussianTransport(RectifiedFlow(), MEAN, COVARIANCE), Score), Score)
    with pytest.raises(checks.CheckFailed, match="off by"):
        checks.check_samplers_agree(model, 500)
