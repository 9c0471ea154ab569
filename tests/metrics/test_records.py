"""What samples give away: copies and near copies are seen whatever the numbers of training and of test rows."""

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fourfold.metrics import References, choose_draws, copied_ngrams, memorisation_ratio
from fourfold.metrics.records import Records
from fourfold.metrics.rows import Columns
from fourfold.metrics.score import Measurement
from fourfold.metrics.sequences import by_sequences

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import copies as copying

COLUMNS = Columns(("a", "b", "c", "level"), (False, False, False, True), ("", "", "", ""))
HELD = 150
"""Test rows, fresh rows and samples."""
RATIOS = (1, 4, 10)
"""Training rows for a test row."""


def rows(n: int, generator: torch.Generator) -> Tensor:
    z = torch.randn(n, 3, generator=generator).double()
    z[:, 1] += z[:, 0]
    return torch.cat([z, torch.randint(3, (n, 1), generator=generator)], 1)


def copies(train: Tensor, generator: torch.Generator, noise: float, n: int = HELD) -> Tensor:
    """Training rows in any order, some of them twice, with noise on their quantities."""
    drawn = train[torch.randint(len(train), (n,), generator=generator)].clone()
    drawn[..., :3] += noise * torch.randn(drawn[..., :3].shape, generator=generator)
    return drawn


def flagged(score: Measurement) -> bool:
    return score.low > score.floor_high


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_a_memory_scores_one_whatever_the_number_of_training_rows(ratio, noise):
    """With noise and ten training rows for each test row, both scores were .55, and copies are equal rows only."""
    generator = torch.Generator().manual_seed(ratio)
    train, test, fresh = (rows(n, generator) for n in (ratio * 600, 600, 600))
    records = Records(copies(train, generator, noise, 600), train, test, fresh, COLUMNS)
    closer, attack = records.closer(), records.attack()
    assert closer.value > 0.98
    assert attack.value > 0.98
    assert flagged(closer)
    assert flagged(attack)
    assert "1 is a memory" in closer.protocol
    assert records.copies().value == (1 if noise == 0 else 0)


@pytest.mark.parametrize("ratio", RATIOS)
def test_new_rows_are_flagged_in_one_case_of_twenty_at_most(ratio):
    """The means are the ideal, intervals of most cases hold it, and floors hold most scores."""
    generator, scores, cases = torch.Generator().manual_seed(ratio), {}, 40
    for _ in range(cases):
        train, test, fresh, x = (rows(n, generator) for n in (ratio * HELD, HELD, HELD, HELD))
        records = Records(x, train, test, fresh, COLUMNS)
        for score in (records.closer(), records.attack(), records.closest()):
            scores.setdefault(score.name, []).append(score)
    for own in scores.values():
        assert sum(score.value for score in own) / cases == pytest.approx(0.5, abs=0.04)
        assert sum(map(flagged, own)) <= 0.05 * cases
        assert sum(score.value <= score.floor_high for score in own) >= 0.85 * cases
        assert sum(score.low <= 0.5 <= score.high for score in own) >= 0.85 * cases


def test_half_a_memory_lies_between():
    generator = torch.Generator().manual_seed(0)
    train, test, fresh = (rows(n, generator) for n in (2000, 1000, 1000))
    x = torch.cat([rows(200, generator), copies(train, generator, 1e-3, 200)])
    records = Records(x, train, test, fresh, COLUMNS)
    new, copied = records._from_samples.weight.split(200)
    score = records.closer()
    assert copied.mean() > 0.98
    assert new.mean() < 0.5
    assert score.value == pytest.approx(float((copied.sum() + new.sum() / 2) / (copied.sum() + new.sum())), abs=0.05)
    assert flagged(score)


@pytest.mark.parametrize("ratio", RATIOS)
def test_near_copies_of_vectors_and_images_are_nearer_than_new_examples(ratio):
    generator, honest = torch.Generator().manual_seed(ratio), []
    for case in range(20):
        train, test, fresh, x = (torch.randn(n, 6, generator=generator) for n in (ratio * HELD, HELD, HELD, HELD))
        if case == 0:
            score = memorisation_ratio(copies(train, generator, 1e-3), train, test, features="f", fresh=fresh)
            assert score.value < 0.01
            assert score.high < score.floor_low
        score = memorisation_ratio(x, train, test, features="f", fresh=fresh)
        honest.append(score.high < score.floor_low)
    assert sum(honest) <= 1


@pytest.mark.parametrize("ratio", RATIOS)
def test_near_copies_of_sequences_are_seen(ratio):
    """A walk of seven steps with a level, of varying length."""

    def walks(n: int) -> Tensor:
        z = torch.randn(n, 7, 3, generator=generator).cumsum(1).double()
        level = torch.randint(3, (n, 7, 1), generator=generator)
        ends = torch.randint(3, 8, (n, 1), generator=generator)
        return torch.where((torch.arange(7) < ends)[..., None], torch.cat([z, level], 2), torch.inf)

    generator = torch.Generator().manual_seed(ratio)
    train, test, fresh, x = (walks(n) for n in (ratio * HELD, HELD, HELD, HELD))
    seen = References(choose_draws(train, HELD), test, None, fresh, train)
    near, new = (
        next(score for score in by_sequences(own, seen, COLUMNS) if score.name == "closer_to_training[sequences]")
        for own in (copies(train, generator, 1e-3), x)
    )
    assert near.value > 0.98
    assert flagged(near)
    assert not flagged(new)


@pytest.mark.parametrize("ratio", RATIOS)
def test_text_with_a_few_letters_changed_is_seen(ratio):
    generator = torch.Generator().manual_seed(ratio)
    stream, held, new = (torch.randint(26, (n,), generator=generator) for n in (ratio * 6400, 6400, 6400))
    first = torch.randint(len(stream) - 128, (50, 1), generator=generator)
    near = stream[first + torch.arange(128)]
    near = torch.where(torch.rand(near.shape, generator=generator) < 0.01, 26, near)
    assert flagged(copied_ngrams(near, stream, held.view(50, 128)))
    assert not flagged(copied_ngrams(new.view(50, 128), stream, held.view(50, 128)))


def test_which_rows_are_in_training_is_a_coin_to_whoever_draws_common_rows():
    """Common rows, of a coarse table, have twins in training and test data: the mean over tables is 1/2."""
    kind, generator, values = copying.KINDS["coarse table"], torch.Generator().manual_seed(0), []
    for _ in range(60):
        train, test, fresh = (kind.law(n, generator) for n in (720, 180, 180))
        x = copying.samples(kind, "typical", train, generator)
        values.append(kind.score(x, train, test, fresh).value)
    assert sum(values) / 60 == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("name", copying.KINDS)
def test_copies_are_seen_in_data_of_each_kind_and_new_examples_are_not(name):
    """At 2.5 % there are three false alarms of six in 3 of 10,000 cases. 200 repeats: ``benchmarks/copies.py``."""
    kind, alarms, least = copying.KINDS[name], [], {"coarse table": 5}.get(name, 6)
    for generator_name in ("new", "copies"):
        generator, count = torch.Generator().manual_seed(1), 0
        for _ in range(6):
            train, test, fresh = (kind.law(n, generator) for n in (720, 180, 180))
            x = copying.samples(kind, generator_name, train, generator)
            count += copying.repeats(kind.score(x, train, test, fresh))
        alarms.append(count)
    assert alarms[0] <= 2
    assert alarms[1] >= least
