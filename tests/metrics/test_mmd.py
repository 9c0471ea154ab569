"""The maximum mean discrepancy against its definition."""

import math

import pytest
import torch

from fourfold.metrics import median_bandwidth, mmd
from fourfold.metrics.score import left_out, spread


def test_against_loops() -> None:
    x, y = torch.randn(9, 3).double(), torch.randn(7, 3).double() + 0.5

    def k(a: torch.Tensor, b: torch.Tensor) -> float:
        square = (a - b).square().sum().item()
        return sum(math.exp(-square / (2 * h * h)) for h in (0.7, 2.0)) / 2

    xx = sum(k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j) / (9 * 8)
    yy = sum(k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j) / (7 * 6)
    xy = sum(k(a, b) for a in x for b in y) / 63
    assert mmd(x, y, features="f", bandwidths=(0.7, 2.0)).value == pytest.approx(xx + yy - 2 * xy, rel=1e-9)


def test_it_is_unbiased() -> None:
    values = [mmd(torch.randn(20, 2), torch.randn(20, 2), features="f", bandwidths=(1.0,)).value for _ in range(300)]
    error = torch.tensor(values).std().item() / math.sqrt(300)
    assert abs(sum(values) / 300) < 4 * error


def test_errors_are_those_of_leaving_out_one_row_at_a_time() -> None:
    x, y = torch.randn(60, 2).double() + 0.7, torch.randn(40, 2).double()

    def value(samples: torch.Tensor, tests: torch.Tensor) -> float:
        return mmd(samples, tests, features="f", bandwidths=(1.0,)).value

    score = mmd(x, y, features="f", bandwidths=(1.0,))
    assert score.error**2 == pytest.approx(spread(left_out(lambda keep: value(x[keep], y), 60, 60)), rel=0.05)
    shared = spread(left_out(lambda keep: value(x, y[keep]), 40, 40))
    assert spread(score.deviations) == pytest.approx(shared, rel=0.1)


def test_gaussians_have_a_closed_form() -> None:
    """For N(0, 1) against N(m, 1) and bandwidth h: 2 h / sqrt(h² + 2) (1 - exp(-m² / 2 (h² + 2)))."""
    h, m = 1.0, 1.5
    exact = 2 * h / math.sqrt(h * h + 2) * (1 - math.exp(-m * m / (2 * (h * h + 2))))
    score = mmd(torch.randn(2000, 1) + m, torch.randn(2000, 1), features="f", bandwidths=(h,))
    assert score.value == pytest.approx(exact, abs=0.05)
    assert score.low < score.value < score.high


def test_the_bandwidth_is_the_median_distance_of_references() -> None:
    assert median_bandwidth(torch.tensor([[0.0], [1.0], [3.0]])) == 2.0
    assert median_bandwidth(torch.zeros(4, 2)) == 1.0
