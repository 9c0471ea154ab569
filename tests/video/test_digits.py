"""The built-in set of digits that move."""

import torch

from fourfold.data import load
from fourfold_video.space import Video


def whole(data):
    return torch.cat([data.train.x, data.validation.x, data.test.x])


def test_a_digit_moves_straight_within_the_frame_and_bounces_off_its_walls():
    data = load("moving-digits", limit=60)
    x = whole(data)
    assert data.space == Video(16, 32, 32, n_values=17, frames=16)
    ink = x.double().sum((2, 3))
    assert torch.equal(ink, ink[:, :1].expand_as(ink))  # the whole digit is always seen
    at = torch.arange(32.0, dtype=torch.float64)
    middle = torch.stack([(x.double().sum(3) @ at) / ink, (x.double().sum(2) @ at) / ink], 2)
    steps = middle.diff(dim=1)
    assert steps.norm(dim=2).max() <= 3 + 2**0.5
    speed = steps.abs().mean((1,)).norm(dim=1)
    assert speed.min() > 0.8
    straight = (steps.diff(dim=1).abs() <= 1 + 1e-9).double().mean()
    assert straight > 0.75  # no turn but at a wall: positions are rounded


def test_variants_of_a_digit_that_moves_come_into_one_split():
    data = load("moving-digits", limit=400)
    first = [{tuple(c[0][c[0] > 0].tolist()) for c in part.x} for part in (data.train, data.test)]
    assert not first[0] & first[1]
