"""Neighbour measures on constructed cases, and against definitions written out."""

import pytest
import torch
from torch import Tensor

from fourfold.metrics import coverage, density, memorisation_ratio, precision, recall


def two_clusters(n: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 2, generator=generator), torch.randn(n, 2, generator=generator) + 50


def test_samples_of_one_mode_have_precision_but_half_the_recall() -> None:
    left, right = two_clusters(100, 0)
    samples, _ = two_clusters(200, 1)
    references = torch.cat([left, right])
    assert precision(samples, references, features="f").value > 0.9
    assert recall(samples, references, features="f").value == pytest.approx(0.5, abs=0.05)
    assert coverage(samples, references, features="f").value == pytest.approx(0.5, abs=0.05)


def test_samples_that_also_lie_elsewhere_have_recall_but_half_the_precision() -> None:
    samples = torch.cat(two_clusters(100, 0))
    references, _ = two_clusters(200, 1)
    assert precision(samples, references, features="f").value == pytest.approx(0.5, abs=0.05)
    assert recall(samples, references, features="f").value > 0.9


def test_samples_far_away_have_nothing_and_an_interval_that_says_so() -> None:
    samples, references = torch.randn(100, 3) + 1000, torch.randn(100, 3)
    for measure in (precision, recall, coverage):
        score = measure(samples, references, features="f")
        assert score.value == 0
        assert score.low == 0
        assert 0 < score.high < 0.1  # not pretending to know
    assert density(samples, references, features="f").value == 0


@pytest.mark.parametrize("k", [1, 3])
def test_against_loops(k: int) -> None:
    x, y = torch.randn(17, 2), torch.randn(13, 2)

    def radius(points: Tensor, i: int) -> float:
        return sorted((points[i] - other).norm().item() for other in points)[k]

    inside = [[(a - y[i]).norm().item() <= radius(y, i) for i in range(13)] for a in x]
    assert precision(x, y, features="f", k=k).value == pytest.approx(sum(map(any, inside)) / 17)
    assert density(x, y, features="f", k=k).value == pytest.approx(sum(map(sum, inside)) / (17 * k))
    covered = [any(inside[j][i] for j in range(17)) for i in range(13)]
    assert coverage(x, y, features="f", k=k).value == pytest.approx(sum(covered) / 13)
    reached = [any((b - x[j]).norm().item() <= radius(x, j) for j in range(17)) for b in y]
    assert recall(x, y, features="f", k=k).value == pytest.approx(sum(reached) / 13)


def test_memorisation_is_zero_for_copies_and_one_for_new_examples() -> None:
    train, held_out, fresh = torch.randn(3, 300, 5).unbind()
    copied = memorisation_ratio(train[:50], train, held_out, features="f", fresh=fresh)
    assert copied.value == pytest.approx(0, abs=1e-6)
    assert copied.floor == pytest.approx(1, abs=0.1)
    new = memorisation_ratio(torch.randn(300, 5), train, held_out, features="f")
    assert new.low < 1.05
    assert new.high > 0.95


def test_memorisation_looks_at_every_training_example() -> None:
    train, held_out = torch.randn(20_000, 2), torch.randn(100, 2)
    assert memorisation_ratio(train[-20:], train, held_out, features="f").value == pytest.approx(0, abs=1e-6)


def test_too_few_examples_are_refused() -> None:
    with pytest.raises(ValueError, match="more than k = 3, got 3"):
        precision(torch.randn(3, 2), torch.randn(3, 2), features="f")
