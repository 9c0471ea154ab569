"""Baselines of images: masses of all small images add up to 1, samples follow them, and neighbours tell much."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from fourfold.baselines import CountedPixels, PredictedPixels, baselines_of
from fourfold.baselines.residuals import Residuals, bins_of
from fourfold.core import Baseline
from fourfold.spaces import Images
from fourfold.vocabulary import Kind

KINDS = (PredictedPixels, CountedPixels)


def striped(space: Images, n: int, seed: int = 0) -> Tensor:
    """Images whose columns are alike, but for one pixel in ten; later channels are like the first."""
    g = torch.Generator().manual_seed(seed)
    row = torch.randint(space.n_values, (n, 1, 1, space.width), generator=g)
    other = torch.randint(space.n_values, (n, *space.shape), generator=g)
    return torch.where(torch.rand(n, *space.shape, generator=g) < 0.1, other, row).to(torch.uint8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("space", [Images(1, 2, 3, 3), Images(2, 1, 2, 4), Images(1, 1, 1, 256), Images(3, 2, 1, 2)])
def test_masses_of_all_images_add_up_to_one(kind: type[Baseline], space: Images):
    model = kind.fit(space, striped(space, 300))
    scored = model.log_prob(space.support(0, 0.0)[0])
    assert scored.kind is Kind.EXACT
    assert scored.dims == space.dims
    assert float(scored.nats.exp().sum()) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_follow_masses(kind: type[Baseline]):
    space = Images(2, 2, 1, 3)
    model = kind.fit(space, striped(space, 500))
    drawn = model.sample(40_000)
    space.check(drawn)
    assert torch.equal(model.sample(50), drawn[:50])
    images, counts = torch.unique(drawn, dim=0, return_counts=True)
    masses = model.log_prob(images).nats.exp()
    error = (masses * (1 - masses) / len(drawn)).sqrt()
    assert ((counts / len(drawn) - masses).abs() / error).max() < 4.5
    assert len(images) > 60


def test_neighbours_tell_more_than_pixels_alone():
    space = Images(1, 6, 6, 12)
    x, test = striped(space, 800), striped(space, 300, 1)
    nats = {kind: float(kind.fit(space, x).log_prob(test).nats.mean()) for kind in KINDS}
    row = 6 * math.log(12)
    below = 0.9 + 0.1 / 12
    law = 30 * (below**2 * math.log(below**2) + (1 - below**2) * math.log((1 - below**2) / 11))
    assert nats[CountedPixels] > nats[PredictedPixels] > -36 * math.log(12)
    assert nats[CountedPixels] == pytest.approx(law - row, rel=0.15)


def test_a_place_has_its_own_prediction_and_a_few_images_suffice():
    """A pixel that is bright in one place and dark in another costs little, wherever its neighbours are alike."""
    space = Images(1, 8, 8, 64)
    g = torch.Generator().manual_seed(0)
    ramp = torch.arange(64).view(1, 1, 8, 8)
    x = (ramp.roll(21) + torch.randint(-1, 2, (400, 1, 8, 8), generator=g)).clamp(0, 63).to(torch.uint8)
    for kind in KINDS:
        assert float(kind.fit(space, x[:200]).log_prob(x[200:]).bits_per_dim.mean()) < math.log2(3) + 0.6
        assert torch.isfinite(kind.fit(space, x[:1]).log_prob(x[200:]).nats).all()


def test_residuals_add_up_to_one_and_fit_their_scale():
    g = torch.Generator().manual_seed(0)
    mu = 40 * torch.rand(5000, generator=g).double() + 10
    bins = (torch.rand(5000, generator=g) < 0.5).long()
    spread = torch.where(bins == 0, 0.5, 5.0)
    values = (mu + spread * torch.logit(torch.rand(5000, generator=g).double())).round().clamp(0, 63)
    scales = torch.tensor([0.5, 5.0], dtype=torch.float64).expand(5000, 2)
    fitted = Residuals.fit(0, 63, bins, 2, Residuals.parts(values, mu, scales, 0, 63))
    assert torch.allclose(fitted.weights, torch.eye(2, dtype=torch.float64), atol=0.05)
    every = torch.arange(64).expand(20, 64)
    masses = fitted.masses(every, 3 * mu[:20, None].expand(20, 64) - 60, scales[:20, None], bins[:20, None])
    assert torch.allclose(masses.sum(1), torch.ones(20, dtype=torch.float64))
    assert (masses > 0).all()


def test_bins_hold_equally_many_and_ties_share_one():
    activity = torch.tensor([0.0] * 50 + list(range(1, 51)))
    bins = torch.bucketize(activity.double(), bins_of(activity, 4), right=True)
    assert bins[:50].unique().numel() == 1
    assert torch.bincount(bins[50:]).max() <= 26


def test_images_have_baselines_unless_they_are_large():
    assert baselines_of(Images(3, 64, 64)) == (CountedPixels, PredictedPixels)
    assert baselines_of(Images(3, 256, 256)) == ()
