"""Intervals, records and the measures of pixels."""

import math

import pytest
import torch

from fourfold.metrics import Measurement, bootstrap, detail_ratio, jackknife
from fourfold.vocabulary import Kind


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    x = torch.randn(1000, dtype=torch.float64)
    value, low, high = jackknife(lambda kept: x[kept].mean().item(), 1000)
    assert value == pytest.approx(x.mean().item())
    assert (high - low) / 2 == pytest.approx(2.26 * x.std().item() / math.sqrt(1000), rel=0.6)


def test_jackknife_intervals_cover() -> None:
    hits = 0
    for _ in range(200):
        x = torch.randn(60, dtype=torch.float64)
        _, low, high = jackknife(lambda kept, x=x: x[kept].mean().item(), 60)
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
