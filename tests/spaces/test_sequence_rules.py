"""Rules within the rows of sequences: models learn what is free, and masses of whole sequences stay masses."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import fourfold
from fourfold.spaces import Sequences
from fourfold.spaces.columns import Categorical, Identifier, Numeric
from fourfold.spaces.rules import AtLeast, Combinations, Total
from fourfold.spaces.sequences import ABSENT

PLAIN = Sequences(
    (
        Identifier("user"),
        Numeric("when", high=1),
        Categorical("a", "str", categories=("x", "y")),
        Categorical("b", "str", categories=("0", "1")),
        Numeric("low", high=1),
        Numeric("high", high=2),
        Numeric("sum", high=3),
    ),
    "when",
    (0, 1),
    2,
    "user",
)
RULES = (
    Combinations(("a", "b"), ((0, 0), (1, 0)), "a determines b"),
    AtLeast("high", ("low",), Numeric("high above low", high=1), "low ≤ high"),
    Total("sum", ("low", "high"), (1, 1), "sum = low + high"),
)
SPACE = dataclasses.replace(PLAIN, rules=RULES)


def test_masses_of_sequences_with_rules_sum_to_one():
    torch.manual_seed(0)
    model = fourfold.build("autoregressive", SPACE, size="xs")
    x, _ = SPACE.support(2, 1.0)
    assert len(x) == 16 + 16 * 16  # when, a, low and the distance to high are free
    assert model.log_prob(x).nats.exp().sum() == pytest.approx(1, abs=1e-4)
    assert torch.equal(SPACE.expand(SPACE.reduce(x)), x)


def test_samples_keep_every_rule_and_a_row_that_breaks_one_has_no_mass():
    model = fourfold.build("autoregressive", SPACE, size="xs")
    x = model.sample(200)
    a, b, low, high, total = x[SPACE.present(x)][:, 1:].T
    assert set(zip(a.tolist(), b.tolist(), strict=True)) <= {(0, 0), (1, 0)}
    assert bool((low <= high).all())
    assert torch.equal(total, low + high)
    assert not SPACE.outside(x).any()
    broken = x[:1].clone()
    broken[0, 0, 5] += 1
    assert SPACE.outside(broken).all()
    assert bool((x[:, 1][~SPACE.present(x)[:, 1]] == ABSENT).all())


def test_a_column_of_combinations_is_not_computed_by_another_rule_too():
    pairs = Combinations(("low", "high"), ((0, 0), (1, 1)), "low determines high")
    with pytest.raises(ValueError, match="one rule at most"):
        _ = dataclasses.replace(PLAIN, rules=(pairs, RULES[1])).row
