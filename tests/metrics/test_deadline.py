"""Scoring ends when its time is over, also in the middle of a block."""

import math
import time

import pytest
import torch
from torch import nn

from fourfold.data import load
from fourfold.metrics import likelihood
from fourfold.metrics.deadline import TimeUp, deadline
from fourfold.paradigms import build
from fourfold.vocabulary import Kind


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that only the test moves."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def test_a_model_stops_at_the_first_call_after_the_deadline(clock: list[float]) -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[0].register_forward_hook(lambda *args: clock.__setitem__(0, clock[0] + 3))
    with deadline(net, 4.0):
        net(torch.zeros(1, 2))
        with pytest.raises(TimeUp):
            net(torch.zeros(1, 2))
    net(torch.zeros(1, 2))  # afterwards nothing watches it


@pytest.mark.parametrize(("slow", "scored"), [(0.0, 100), (1.0, 4), (0.01, 20)])
def test_a_block_that_takes_too_long_is_given_up(clock: list[float], slow: float, scored: int) -> None:
    """A block of rows takes ``slow`` times their number squared: the time of a small one promises too much."""
    dataset = load("two-moons", limit=1000)
    model = build("flow", dataset.space, "xs").eval()

    def pay(module: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        clock[0] += slow * len(args[0]) ** 2

    first = next(m for m in model.estimand.modules() if not list(m.children()))
    first.register_forward_pre_hook(pay)
    score = likelihood(model, dataset, 100, seconds=20.0)
    assert score.n == scored
    assert math.isfinite(score.value)


def test_without_a_limit_all_are_scored(clock: list[float]) -> None:
    dataset = load("two-moons", limit=1000)
    model = build("flow", dataset.space, "xs").eval()
    assert likelihood(model, dataset, 90).n == 90


def test_where_the_first_block_takes_too_long_nothing_is_scored(clock: list[float]) -> None:
    dataset = load("two-moons", limit=1000)
    model = build("flow", dataset.space, "xs").eval()
    for m in model.estimand.modules():
        m.register_forward_pre_hook(lambda module, args: clock.__setitem__(0, clock[0] + 3))
    score = likelihood(model, dataset, 100, seconds=10.0)
    assert score.kind is Kind.NONE
    assert score.protocol == "not scored: 4 examples take more than 10 s"
    assert clock[0] <= 13  # one module more than fits
