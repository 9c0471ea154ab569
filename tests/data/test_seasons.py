"""The season of a series: found where there is one, not where there is none, and in training rows alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import fourfold


def season(y: np.ndarray, **options: str) -> tuple[int | None, int]:
    """The season of a series of numbers, and the rows of its windows."""
    space = fourfold.load(pd.DataFrame({"t": np.arange(len(y)), "y": y}), order="t", **options).space
    return space.season, space.length


@pytest.mark.parametrize("rows", [7, 12, 24])
@pytest.mark.parametrize("kind", ["values", "trend", "walk", "flags"])
def test_a_season_is_recognised_and_a_window_holds_two(rows: int, kind: str) -> None:
    random = np.random.default_rng(rows)
    t, shape = np.arange(2400), random.normal(size=rows)
    noise = 0.5 * random.normal(size=len(t))
    y = shape[t % rows] + noise
    if kind == "trend":
        y += 0.05 * t
    if kind == "walk":
        y = np.cumsum(shape[t % rows] - shape.mean() + noise)
    if kind == "flags":
        y = np.where(t % rows == 0, "open", "closed")
    assert season(y if kind == "flags" else y.round(2)) == (rows, max(16, 2 * (rows + 1)))


@pytest.mark.parametrize("seed", range(5))
def test_noise_and_walks_have_no_season(seed: int) -> None:
    random = np.random.default_rng(seed)
    noise = random.normal(size=1000)
    for y in (noise, np.cumsum(noise), np.exp(noise)):
        assert season(y.round(2)) == (None, 8)
    assert season(np.where(noise > 0, "a", "b")) == (None, 8)


def test_held_out_rows_have_no_say_and_irregular_steps_have_no_season() -> None:
    random = np.random.default_rng(0)
    t = np.arange(1000)
    week = np.where(t % 7 < 5, 0.0, 4.0) + random.normal(size=1000)
    late = np.where(t < 800, random.normal(size=1000), week)
    assert season(week.round(2)) == (7, 16)
    assert season(late.round(2))[0] is None
    rough = pd.DataFrame({"t": np.cumsum(1 + (random.random(1000) < 0.5)), "y": week.round(2)})
    assert fourfold.load(rough, order="t").space.season is None


def test_a_length_that_is_asked_for_stays() -> None:
    y = np.where(np.arange(1000) % 7 < 5, 0, 4) + np.random.default_rng(0).normal(size=1000).round(2)
    assert season(y, length=10) == (7, 10)
