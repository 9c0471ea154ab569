"""Traces show the model's own samples, and their fields and curves are those of known densities."""

import base64
import math

import numpy as np
import pytest
import torch
from torch import nn

from fourfold import Noise, Run, load
from fourfold.data.densities import GaussianMixture
from fourfold.data.oracles import GaussianConditionals, MixtureDenoiser
from fourfold.maths.paths import EDM, RectifiedFlow
from fourfold_web import zoo
from fourfold_web.traces import (
    ARROWS,
    REACH,
    Layer,
    conditional_density,
    critic_layers,
    first_density,
    places,
    scores,
    trace,
    warped,
)

SPLITS = {name: load(name).test.x[:64] for name in ("two-moons", "digits")}


def of(name):
    return Run.load(zoo.folder_of(name), "cpu")


@pytest.mark.parametrize(
    "name", [*(name for name in zoo.names() if "moons" in name), "digits/autoregressive", "digits/diffusion"]
)
def test_the_last_frame_holds_the_samples_of_the_same_seed(name):
    run = of(name)
    n = 16 if run.model.space.shape == (2,) else 4
    shown = trace(run.model, SPLITS[name.split("/")[0]], n, seed=3, scored=0, density=False)
    samples = run.sample(n, seed=3)
    assert torch.equal(shown.samples, samples)
    layer = next(layer for layer in shown.panels[-1].layers if layer.kind in ("points", "images"))
    if layer.kind == "images":
        last = layer.values[-1] * (run.model.space.n_values - 1)
    else:
        codec = run.model.codec
        codec = codec.autoencoder.codec if hasattr(codec, "autoencoder") else codec
        last = codec.decode(layer.values[-1])
    torch.testing.assert_close(last, samples.float())
    assert all(layer.values.shape[0] in (1, len(shown.frames)) for panel in shown.panels for layer in panel.layers)


def test_evaluations_are_those_that_a_sample_takes():
    assert trace(of("two-moons/autoregressive").model, SPLITS["two-moons"], 4, scored=0, density=False).evaluations == 2
    model = of("two-moons/diffusion").model
    assert trace(model, SPLITS["two-moons"], 4, scored=0, density=False).evaluations == model.sampler.steps


def test_the_curves_of_conditionals_integrate_to_one():
    estimand = of("two-moons/autoregressive").model.estimand
    width = 2 * 8 / 4000
    with torch.no_grad():
        assert float(first_density(estimand, 4000, 8.0).sum()) * width == pytest.approx(1, abs=1e-3)
        for x in (-1.5, 0.3, 2.0):
            assert float(conditional_density(estimand, x, 4000, 8.0).sum()) * width == pytest.approx(1, abs=1e-3)


def test_the_curves_are_those_of_a_known_density():
    covariance = [[1.0, 0.6], [0.6, 0.8]]
    oracle = GaussianConditionals([0.0, 0.0], covariance)
    axis = (torch.arange(48) + 0.5) / 48 * 2 * REACH - REACH
    slope, variance = 0.6, 0.8 - 0.36
    torch.testing.assert_close(
        first_density(oracle), (-axis.square() / 2).exp() / math.sqrt(2 * math.pi), atol=1e-5, rtol=1e-4
    )
    exact = (-(axis - slope).square() / (2 * variance)).exp() / math.sqrt(2 * math.pi * variance)
    torch.testing.assert_close(conditional_density(oracle, 1.0), exact, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("path", [EDM(), RectifiedFlow()], ids=str)
def test_arrows_are_the_gradient_of_the_density(path):
    weights, means = torch.tensor([0.3, 0.7]), torch.tensor([[-1.0, 0.5], [1.0, -0.5]])
    covariances = torch.stack([torch.eye(2) * 0.2, torch.tensor([[0.5, 0.2], [0.2, 0.3]])])
    oracle, t, scale = MixtureDenoiser(path, weights.tolist(), means.tolist(), covariances.tolist()), 0.6, 1.3
    alpha, sigma = (float(f(torch.tensor(t, dtype=torch.float64))) for f in (path.alpha, path.sigma))
    density = GaussianMixture(weights, alpha * means, alpha**2 * covariances + sigma**2 * torch.eye(2))
    x = (places(ARROWS) * scale).double().requires_grad_()
    (gradient,) = torch.autograd.grad(density.log_prob(x).sum(), x)
    layer = scores(oracle, [t], [scale])
    torch.testing.assert_close(layer.values[0].reshape(-1, 2).double(), sigma * gradient, atol=1e-4, rtol=1e-4)


def test_each_layer_of_couplings_moves_one_coordinate_and_the_last_state_is_the_map():
    flow, z = of("two-moons/flow").model.estimand, torch.randn(50, 2)
    states = warped(flow, z)
    torch.testing.assert_close(states[-1], flow(z))
    torch.testing.assert_close(states[0], z)
    moved = (states[1:] - states[:-1]).abs().amax(1) > 1e-6
    assert moved.sum(1).max() <= 1
    assert len(states) == len(flow.net.nets) + 1


def test_the_arrows_of_a_critic_climb_its_number():
    critic = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))

    class Conditional(nn.Module):
        def forward(self, x, cond):
            return critic(x)

    arrows = next(layer for layer in critic_layers(Conditional()) if layer.kind == "arrows").values[0].reshape(-1, 2)
    x, h = places(ARROWS), 1e-2
    for axis in range(2):
        step = torch.eye(2)[axis] * h
        slope = (critic(x + step) - critic(x - step))[:, 0] / (2 * h)
        torch.testing.assert_close(arrows[:, axis], slope, atol=1e-3, rtol=1e-2)


def test_chains_hand_out_their_states_and_give_the_same_samples():
    model = of("two-moons/energy").model
    silent = model.sampler.run(model.estimand, Noise(0, 0, 8))
    states = model.sampler.run(model.estimand, Noise(0, 0, 8), keep=1)
    assert torch.equal(silent.x, states.x)
    assert silent.earlier is None
    assert torch.equal(states.states[:, -1], states.x)
    assert states.earlier.shape[1] == len(model.sampler.ladder) + 1
    assert torch.equal(states.earlier[:, 0], model.estimand.reference.draw(Noise(0, 0, 8)))
    assert model.sampler.ladder[-1] == 1


@pytest.mark.parametrize("bits", [8, 16])
def test_a_record_holds_the_values_to_half_a_step(bits):
    values = torch.randn(3, 5, 2) * 4
    values[1, 2, 0] = math.nan
    record = Layer("points", "samples", values, bits).record()
    steps = np.frombuffer(base64.b64decode(record["data"]), "<u2" if bits == 16 else "u1").reshape(record["shape"])
    unit = (record["high"] - record["low"]) / (2**bits - 2)
    read = np.where(steps == 2**bits - 1, np.nan, record["low"] + unit * steps)
    np.testing.assert_allclose(read, values.numpy(), atol=0.51 * unit)
