"""Intervals, records and the measures of pixels."""

import math

import pytest
import torch
from scipy.stats import binomtest

from fourfold.metrics import Measurement, bootstrap, coverage, detail_ratio, jackknife, precision, recall
from fourfold.metrics.floor import choose_draws
from fourfold.metrics.score import Floor, UncertainValue
from fourfold.vocabulary import Kind


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    x = torch.randn(1000, dtype=torch.float64)
    value, low, high = jackknife(lambda rows: x[rows].mean().item(), 1000)
    assert value == pytest.approx(x.mean().item())
    assert (high - low) / 2 == pytest.approx(2.26 * x.std().item() / math.sqrt(1000), rel=0.6)


def test_jackknife_intervals_cover() -> None:
    hits = 0
    for _ in range(200):
        x = torch.randn(60, dtype=torch.float64)
        _, low, high = jackknife(lambda rows, x=x: x[rows].mean().item(), 60)
        hits += low <= 0 <= high
    assert 180 <= hits <= 200


def test_the_bootstrap_of_a_mean_is_its_standard_error() -> None:
    x = torch.randn(500, 1, dtype=torch.float64)
    value, low, high = bootstrap(lambda means: means[:, 0], x)
    assert value == pytest.approx(x.mean().item())
    assert (high - low) / 2 == pytest.approx(1.96 * x.std().item() / math.sqrt(500), rel=0.1)


def test_a_record_is_json_and_comes_back() -> None:
    score = Measurement(
        "likelihood", -1.5, -1.6, -1.4, n=7, protocol="p", unit="nats", better="higher", kind=Kind.ESTIMATE
    )
    record = score.record()
    assert record["floor"] is None
    back = Measurement.from_record(record)
    assert back.kind is Kind.ESTIMATE
    assert back.record() == record
    assert str(back) == "likelihood = -1.5 [-1.6, -1.4] nats (estimate) (n = 7)"


def test_detail_is_one_for_the_same_less_for_blur_more_for_noise() -> None:
    y = (torch.rand(50, 1, 8, 8) * 255).to(torch.uint8)
    blurred = torch.nn.functional.avg_pool2d(y.float(), 3, 1, 1).to(torch.uint8)
    assert detail_ratio(y, y).value == pytest.approx(1)
    assert detail_ratio(blurred, y).value < 0.5
    flat = torch.full_like(y, 128)
    noisy = (flat.float() + 20 * torch.randn(flat.shape)).clamp(0, 255).to(torch.uint8)
    assert detail_ratio(noisy, flat).value > 100


def test_the_interval_of_a_share_lies_in_0_and_1() -> None:
    score = Measurement("coverage[f]", 0.9, 0.7, 1.2, better="higher", share=True).beside(Floor(0.233, -0.294, 0.761))
    assert (score.low, score.high) == (0.7, 1.0)
    assert (score.floor_low, score.floor_high) == (0.0, 0.761)
    assert Measurement.from_record(score.record()) == score
    assert math.isnan(Measurement("copies", 0.1, share=True).low)
    assert Measurement("density[f]", 1.2, 0.9, 1.5).high == 1.5


@pytest.mark.parametrize(("n", "p"), [(40, 0.1), (120, 0.93), (300, 0.5)])
def test_intervals_of_a_share_hold_it_in_95_of_100_cases(n: int, p: float) -> None:
    """Summed over all numbers of hits; ``share ± 1.96 se`` holds .1 of 40 in .914 of cases, and .93 of 120 in .919."""
    covered = 0.0
    for hits in range(1, n):
        share, mass = hits / n, math.comb(n, hits) * p**hits * (1 - p) ** (n - hits)
        error = math.sqrt(share * (1 - share) / n)
        interval = binomtest(hits, n).proportion_ci(method="wilson")
        score = Measurement("coverage[f]", share, share=True).within(UncertainValue(share, error))
        covered += mass * (score.low <= p <= score.high)
        assert (score.low, score.high) == pytest.approx((interval.low, interval.high), abs=1e-6)
    assert 0.94 <= covered <= 0.96


def test_shares_of_two_tiny_samples_have_floors_within_0_and_1() -> None:
    """Eight examples against eight: the t interval of such a floor alone is far wider than a share can be."""
    generator = torch.Generator().manual_seed(3)
    pool, x, y = (torch.randn(n, 2, generator=generator) for n in (24, 8, 8))
    for measure in (precision, recall, coverage):
        score = measure(x, y, features="f", train=choose_draws(pool, 8))
        assert 0 <= score.floor_low <= score.floor <= score.floor_high <= 1
        assert 0 <= score.low <= score.high <= 1


@pytest.mark.parametrize(("low", "high"), [(0.3, 0.45), (0.45, 0.7), (0.6, 0.8)])
def test_a_score_that_is_best_at_its_floor_is_ranked_by_its_distance(low: float, high: float) -> None:
    score = Measurement("two_sample_auc[t]", (low + high) / 2, low, high, better="nearer").beside(Floor(0.5, 0.4, 0.6))
    ranked = score.ranked()
    inside = torch.linspace(low, high, 1001, dtype=torch.float64).sub(0.5).abs()
    assert ranked.better == "lower"
    assert ranked.value == pytest.approx(abs(score.value - 0.5))
    assert (ranked.low, ranked.high) == pytest.approx((inside.min().item(), inside.max().item()), abs=1e-3)
    assert (ranked.floor, ranked.floor_high) == pytest.approx((0.0, 0.1))
    assert score.direction == "nearer 0.5 is better"
    assert Measurement("d", 1.0, better="lower").ranked().direction == "lower is better"
