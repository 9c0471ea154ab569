"""The baseline of sounds: its masses add up to 1, look at nothing to come, and are those of its samples."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import fourfold
from fourfold.baselines import baselines_of
from fourfold.data import Dataset, Split
from fourfold.paradigms import declared, resolve
from fourfold.vocabulary import Kind
from fourfold_speech.baselines import PredictedSamples
from fourfold_speech.prediction import predicted, sizes
from fourfold_speech.space import Audio

SPACE = Audio(1200, 8000)


def resonant(n: int, seed: int = 0) -> Tensor:
    """Noise of scale 100 behind a filter of two poles, ``(n, 1200)`` int16."""
    g = torch.Generator().manual_seed(seed)
    e, x = 100 * torch.randn(n, 1202, generator=g), torch.zeros(n, 1202)
    for t in range(2, 1202):
        x[:, t] = 1.8 * x[:, t - 1] - 0.9 * x[:, t - 2] + e[:, t]
    return x[:, 2:].round().to(torch.int16)


@pytest.fixture(scope="module")
def model() -> PredictedSamples:
    return PredictedSamples.fit(SPACE, resonant(40))


def test_sounds_have_it():
    resolve("autoregressive", SPACE)  # wings register with the recipes
    assert baselines_of(SPACE) == (PredictedSamples,)


def test_masses_of_a_sample_add_up_to_one(model: PredictedSamples):
    every = torch.arange(-32768, 32768).double()
    for t in (0, 1, 700):
        values = resonant(1, 1)[:, : t + 1].double()
        mu = predicted(values)  # the last one is of the samples before
        law = model.law(mu, sizes(values - mu))
        masses = model.residuals.masses(every, *(part[0, -1:] for part in law))
        assert float(masses.sum()) == pytest.approx(1, abs=1e-9)
        assert float(masses[values[0, -1].long() + 32768]) == pytest.approx(float(model.masses(values)[0, -1]))


def test_it_looks_at_nothing_to_come(model: PredictedSamples):
    x = resonant(3, 1)
    other = x.clone()
    other[:, 700:] = 5
    assert torch.allclose(model.masses(x)[:, :700], model.masses(other)[:, :700], rtol=1e-9)


def test_it_comes_near_the_entropy_of_a_filter(model: PredictedSamples):
    scored = model.log_prob(resonant(30, 1))
    entropy = math.log2(100 * math.sqrt(2 * math.pi * math.e))
    assert scored.kind is Kind.EXACT
    assert entropy < float(scored.bits_per_dim.mean()) < entropy + 0.3  # it learns each filter from 512 samples


def test_samples_have_the_masses_that_scoring_gives(model: PredictedSamples, monkeypatch: pytest.MonkeyPatch):
    """The share of the mass below each sample is uniform where drawing and scoring agree on every prediction."""
    drawn = model.sample(60)
    SPACE.check(drawn)
    assert torch.equal(model.sample(5), drawn[:5])
    values = drawn.double()
    mu = predicted(values)
    law = model.law(mu, sizes(values - mu))
    parts = torch.sigmoid((values - mu).unsqueeze(-1) / law[1])
    below = (parts * model.residuals.weights[law[2]]).sum(-1)
    inside = (values > -32768) & (values < 32767)
    assert float(below[inside].mean()) == pytest.approx(0.5, abs=0.006)
    assert float(below[inside].var()) == pytest.approx(1 / 12, abs=0.003)


def test_the_recipe_of_a_wing_says_why_the_data_choose_it() -> None:
    clips = torch.randint(-99, 99, (16, 64), generator=torch.Generator().manual_seed(0)).to(torch.int16)
    train, validation, test = (Split(x) for x in clips.split((8, 4, 4)))
    lines: list[str] = []
    sounds = Dataset("tones", Audio(64, 8000), train, validation, test, "", "")
    fourfold.fit("autoregressive", sounds, budget="1 step", size="xs", say=lines.append)
    assert f"autoregressive/predicted: {declared('autoregressive/predicted').reason}" in lines
    assert not declared("autoregressive/likelihood").reason
