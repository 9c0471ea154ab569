"""Floors: their interval holds the score of new examples, and their draws have the labels of the samples."""

import math

import pytest
import torch

from fourfold.data import load
from fourfold.metrics import examples, frechet_distance, mmd
from fourfold.metrics.floor import POOL, TIMES, Draws, choose_draws, floor_of
from fourfold.metrics.neighbours import coverage


def test_the_interval_of_a_mean_holds_new_means_in_95_percent_of_cases() -> None:
    """A mean of ``n`` new numbers against the mean and spread of draws from a pool of a few times as many."""
    generator, inside, repeats = torch.Generator().manual_seed(0), 0, 400
    for _ in range(repeats):
        pool, new = torch.randn(3 * 40, generator=generator), torch.randn(40, generator=generator)
        rows = torch.stack([torch.randperm(120, generator=generator)[:40] for _ in range(TIMES)])
        floor = floor_of(Draws(pool, rows), 40, lambda x: x.mean().item())
        inside += floor.low <= new.mean().item() <= floor.high
    assert inside / repeats == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize("measure", [frechet_distance, mmd, coverage])
def test_the_interval_holds_the_scores_of_new_examples(measure) -> None:
    generator, inside, repeats = torch.Generator().manual_seed(1), 0, 60
    y = torch.randn(90, 3, generator=generator)
    for _ in range(repeats):
        train, new = torch.randn(400, 3, generator=generator), torch.randn(60, 3, generator=generator)
        score = measure(new, y, features="f", train=choose_draws(train, 60))
        inside += score.floor_low <= score.value <= score.floor_high
    assert inside / repeats >= 0.87  # of 60 at 0.95, fewer are met in one case of a hundred


def test_one_draw_and_draws_of_nearly_the_whole_pool_have_no_interval() -> None:
    x = torch.randn(50, 2)
    floor = floor_of(x, 20, lambda base: float(len(base)))
    assert floor.value == 20
    assert math.isnan(floor.low)
    floor = floor_of(choose_draws(x, 45), 45, lambda base: base.mean().item())
    assert math.isfinite(floor.value)
    assert math.isnan(floor.high)
    assert math.isnan(floor_of(None, 20, lambda base: 0.0).value)


def test_draws_have_the_labels_of_the_samples_in_their_order() -> None:
    data = load("digits", given="labels")
    references = examples(data, 150)
    labels = {x.numpy().tobytes(): int(c) for x, c in zip(data.train.x, data.train.cond, strict=True)}
    assert len(references.train.rows) == TIMES
    for rows in references.train.rows:
        assert [labels[references.train.pool[i].numpy().tobytes()] for i in rows] == references.cond.tolist()
        assert len(set(rows.tolist())) == len(rows)
    assert len(references.train.pool) <= POOL * 150
    assert not torch.equal(references.train.rows[0], references.train.rows[1])


def test_labels_too_rare_are_drawn_again_and_missing_ones_are_stood_in_for() -> None:
    x, labels = torch.arange(10), torch.tensor([0] * 8 + [1] * 2)
    draws = choose_draws(x, 6, labels, torch.tensor([0, 1, 1, 1, 2, 0]))
    for rows in draws.rows:
        assert labels[draws.pool[rows]][:4].tolist() == [0, 1, 1, 1]
        assert set(draws.pool[rows][1:4].tolist()) == {8, 9}
    captions = torch.tensor([[1, 2], [1, 2], [3, -1], [3, -1]])
    draws = choose_draws(torch.arange(4), 2, captions, torch.tensor([[3, -1], [1, 2]]))
    assert {int(draws.pool[rows[0]]) for rows in draws.rows} == {2, 3}


def test_a_floor_with_labels_is_lower_than_one_without() -> None:
    """Digits drawn with the labels of the test digits lie closer to them than digits of random labels."""
    data = load("digits", given="labels")
    references = examples(data, 100)
    free = choose_draws(data.train.x, 100)
    x, y = torch.randn(100, 64), references.test.flatten(1).float() / 16
    matched, unmatched = (
        frechet_distance(x, y, features="f", train=draws.features(draws.pool.flatten(1).float() / 16)).floor
        for draws in (references.train, free)
    )
    assert matched < unmatched
