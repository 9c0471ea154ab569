"""Linear prediction that a network corrects: against the prediction alone, brute force, the future, and its draws."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fourfold import build
from fourfold.core import GenerativeModel
from fourfold.distributions.observations import DiscretisedLogistics
from fourfold.spaces import Categories
from fourfold.vocabulary import Kind
from fourfold_speech import samples
from fourfold_speech.baselines import PredictedSamples
from fourfold_speech.samples import DEPENDS, SampleConditionals, SampleLikelihood
from fourfold_speech.space import Audio

SPACE = Audio(1200, 8000)


def resonant(n: int, length: int = 1200, seed: int = 0) -> Tensor:
    """Noise of scale 100 behind a filter of two poles, with silence at the end, ``(n, length)`` int16."""
    g = torch.Generator().manual_seed(seed)
    e, x = 100 * torch.randn(n, length + 2, generator=g), torch.zeros(n, length + 2)
    for t in range(2, length + 2):
        x[:, t] = 1.8 * x[:, t - 1] - 0.9 * x[:, t - 2] + e[:, t]
    x[:, length - length // 4 :] = 0
    return x[:, 2:].round().to(torch.int16)


def fitted(space: Audio) -> GenerativeModel:
    torch.manual_seed(0)
    model = build("autoregressive", space, size="xs")
    model.fit_statistics(resonant(20, space.length))
    return model.eval()


def disturbed(space: Audio = SPACE) -> GenerativeModel:
    """The same with a network that is far from silent."""
    model = fitted(space)
    torch.manual_seed(1)
    for parameter in model.estimand.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def estimand_of(model: GenerativeModel) -> SampleConditionals:
    assert isinstance(model.estimand, SampleConditionals)
    return model.estimand


def test_it_is_the_default_and_begins_as_the_prediction_alone():
    x, scored = resonant(6, seed=1), fitted(SPACE).log_prob(resonant(6, seed=1))
    alone = PredictedSamples.fit(SPACE, resonant(20)).log_prob(x)
    assert scored.kind is Kind.EXACT
    torch.testing.assert_close(scored.nats.double(), alone.nats, rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("first", [(1000, -700), (-32768, 32767)])
def test_masses_of_a_sample_add_up_to_one(first: tuple[int, int]):
    space = Audio(3, 8000)
    model = disturbed(space)
    clips = torch.tensor([*first, 0]).repeat(65536, 1)
    clips[:, 2] = torch.arange(-32768, 32768)
    with torch.no_grad():
        nats = estimand_of(model)(model.codec.encode(clips.to(torch.int16))[0])
    assert torch.allclose(nats[:, :2], nats[:1, :2], atol=1e-6)
    assert float(nats[:, 2].double().exp().sum()) == pytest.approx(1, abs=1e-5)


@torch.no_grad()
def test_it_looks_at_nothing_to_come():
    model = disturbed()
    x = resonant(3, seed=1)
    other = x.clone()
    other[:, 700:] = 5
    a, b = (estimand_of(model)(model.codec.encode(clips)[0]) for clips in (x, other))
    torch.testing.assert_close(a[:, :700], b[:, :700], rtol=0, atol=1e-6)
    assert not torch.allclose(a[:, 700:], b[:, 700:])


def test_samples_are_drawn_from_the_laws_by_which_they_are_scored(monkeypatch: pytest.MonkeyPatch):
    model, laws = disturbed(), list[DiscretisedLogistics]()
    law_of = SampleConditionals.law

    def recorded(self, *inputs):
        laws.append(law_of(self, *inputs))
        return laws[-1]

    monkeypatch.setattr(SampleConditionals, "law", recorded)
    drawn = model.sample(40, seed=0)
    SPACE.check(drawn)
    of_draws = [torch.stack([getattr(law, name) for law in laws], 1) for name in ("log_pi", "mu", "log_scale")]
    laws.clear()
    model.log_prob(drawn)
    of_scores = [
        torch.cat([getattr(law, name) for law in laws]).view(*drawn.shape, -1) for name in ("log_pi", "mu", "log_scale")
    ]
    for one, other in zip(of_draws, of_scores, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    pi, mu, scale = of_draws[0].exp(), of_draws[1], of_draws[2].exp()
    z, half = model.codec.encode(drawn)[0][:, 0].double(), 1 / 65535
    ends = [(pi * torch.sigmoid((z.unsqueeze(-1) + step - mu) / scale)).sum(-1) for step in (-half, half)]
    low, high = ends[0].where(drawn > -32768, 0.0), ends[1].where(drawn < 32767, 1.0)
    u = low + torch.rand(low.shape, generator=torch.Generator().manual_seed(0), dtype=low.dtype) * (high - low)
    assert float(u.mean()) == pytest.approx(0.5, abs=0.006)
    assert float(u.var()) == pytest.approx(1 / 12, abs=0.002)


@torch.no_grad()
def test_a_stretch_has_the_masses_of_the_whole_clip(monkeypatch: pytest.MonkeyPatch):
    space = Audio(5000, 8000)
    model, objective = disturbed(space), SampleLikelihood(places=400)
    x = model.codec.encode(resonant(30, 5000, seed=1))[0]
    whole = estimand_of(model)(x)
    stretch, places = objective._stretches(x)
    assert stretch.shape[2] < 2600 + DEPENDS
    nats = estimand_of(model).at(stretch, places)
    spans = [start + torch.arange(0, min(1696, 5000 - start)) for start in (0, 1696, 3392)]
    seen = set()
    for row in range(30):
        matches = [
            k for k, span in enumerate(spans) if torch.equal(stretch[row, 0, DEPENDS:][: len(span)], x[row, 0, span])
        ]
        assert len(matches) == 1
        torch.testing.assert_close(
            nats[row], whole[row, spans[matches[0]][0] + places[row] - DEPENDS], rtol=0, atol=1e-5
        )
        seen |= set(matches)
    assert seen == {0, 1, 2}


@torch.no_grad()
def test_long_clips_are_scored_in_stretches(monkeypatch: pytest.MonkeyPatch):
    model = disturbed()
    x = model.codec.encode(resonant(2, seed=1))[0]
    whole = estimand_of(model)(x)
    monkeypatch.setattr(samples, "AT_ONCE", 320)
    torch.testing.assert_close(estimand_of(model)(x), whole, rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_condition_counts():
    model = disturbed(SPACE.conditioned_on(Categories.numbered(2)))
    x = resonant(2, seed=1)
    one, other = (model.log_prob(x, torch.full((2,), label)).nats for label in (0, 1))
    assert (one - other).abs().min() > 1
