"""Rules within the rows of sequences: models learn what is free, and masses of whole sequences stay masses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

import fourfold
from fourfold.spaces import Sequences
from fourfold.spaces.columns import UNSEEN, Categorical, Identifier, Numeric
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


STAYS = dataclasses.replace(
    PLAIN,
    schema=(Identifier("user"), Numeric("from", high=1), Numeric("to", high=4), Numeric("late", high=4)),
    order="from",
    rules=(
        AtLeast("to", ("from",), Numeric("to above from", high=1), "from ≤ to"),
        AtLeast("late", ("to",), Numeric("late above to", high=0), "to ≤ late"),
    ),
)


def test_the_order_column_bounds_others_at_its_place_and_not_by_its_step():
    x, _ = STAYS.support(2, 1.0)
    steps = torch.where(STAYS.present(x), x[..., 0], 0)
    place = steps.cumsum(1)[STAYS.present(x)]
    stay = x[STAYS.present(x)][:, 1] - place
    assert len(x) == 4 + 4 * 4  # a step and a distance of two values each
    assert sorted(set(stay.tolist())) == [0, 1]
    assert int(place.max()) == 2
    assert torch.equal(STAYS.expand(STAYS.reduce(x)), x)
    torch.manual_seed(0)
    model = fourfold.build("autoregressive", STAYS, size="xs")
    assert model.log_prob(x).nats.exp().sum() == pytest.approx(1, abs=1e-4)
    early = x[-1:].clone()
    early[0, 1, 1] = early[0, 0, 0] + early[0, 1, 0] - 1
    assert STAYS.outside(early).all()
    assert not STAYS.outside(x).any()


def test_an_order_that_no_training_row_has_leaves_a_sequence_without_mass():
    x, _ = STAYS.support(2, 1.0)
    x = x[-1:].clone()
    x[0, 0, 0] = UNSEEN
    assert STAYS.outside(x).all()


def test_stays_that_end_after_they_begin_do_so_in_samples():
    rng = np.random.default_rng(0)
    start = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, 600), "D")
    stop = start + pd.to_timedelta(rng.integers(0, 30, 600), "D")
    frame = pd.DataFrame({"ward": np.repeat([f"w{i}" for i in range(120)], 5), "start": start, "stop": stop})
    frame = frame.sort_values("start")
    data = fourfold.load(frame, group="ward", order="start")
    assert [rule.text for rule in data.space.rules] == ["start ≤ stop"]
    run = fourfold.fit("autoregressive", data, budget="2 steps", size="xs", precision="float32")
    rows = run.table(20, seed=0)
    assert (rows["start"] <= rows["stop"]).all()
    assert ((rows["stop"] - rows["start"]).dt.days < 90).all()  # distances are learned, and not dates
