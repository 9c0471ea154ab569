"""MAUVE against closed forms. Its reference implementation is compared in test_reference_implementations.py."""

import pytest
import torch

from fourfold.metrics import frontier_area, mauve


def test_the_area_of_equal_and_of_disjoint_distributions() -> None:
    """The frontier of disjoint samples is ``((1-t)^5, t^5)``, with the area ``5 B(5, 6) = 1/252``."""
    p = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    assert frontier_area(p, p) == pytest.approx(1)
    first, second = torch.eye(2, dtype=torch.float64)
    assert frontier_area(first, second) == pytest.approx(1 / 252, rel=0.15)


def test_half_of_the_modes_scores_less_than_new_examples() -> None:
    generator = torch.Generator().manual_seed(0)
    modes = torch.eye(4)[torch.randint(4, (900,), generator=generator)]
    points = modes + 0.05 * torch.randn(900, 4, generator=generator)
    fresh, y, train = points.split(300)
    half = train[train[:, :2].sum(1) > 0.5].repeat(3, 1)[:300]
    scores = [mauve(x, y, features="f", clusters=4, train=train) for x in (fresh, half)]
    assert scores[0].value > 0.9 > scores[1].high
    assert scores[0].low <= scores[0].floor <= 1
