"""Units of several examples: clipping by brute force, batches of units, and the account of several trainings."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

pytest.importorskip("dp_accounting")

from fourfold.core import Batch, Term
from fourfold.data import Split, Units, load
from fourfold.engine import private
from fourfold.engine.private import PoissonLoader, clipped_sum
from fourfold.paradigms import build_recipe
from fourfold.paradigms.autoregressive import MaximumLikelihood
from fourfold.privacy import Guarantee, Protection
from fourfold.privacy.accounting import Spending, multiplier_for, require_accountant


def protection(**more) -> Protection:
    return Protection(Guarantee(4.0), secret=b"a secret of test", **more)


def sequence_term() -> tuple[Term, Batch]:
    """The term of sequences of rows given a row, without draws, and examples of it."""
    rng = np.random.default_rng(0)
    key = np.repeat(np.arange(60), rng.integers(1, 5, 60))
    rows = pd.DataFrame({"id": key, "row": pd.Series(key).groupby(key).cumcount()})
    rows["kind"] = rng.choice(["a", "b", "c"], len(rows))
    rows["size"] = rng.normal(size=len(rows)).round(1)
    given = pd.DataFrame({"id": range(60), "city": rng.choice(["Rome", "Oslo"], 60)})
    data = load(rows, group="id", order="row", length=5, given=given)
    torch.manual_seed(0)
    model = build_recipe("autoregressive", data.space, "xs")[1]
    model.fit_statistics(data.train.x, data.train.cond)
    term = MaximumLikelihood(label_dropout=0.0).terms(model.estimand)["likelihood"].eval()
    with torch.no_grad():
        for p in term.trainable():
            p.add_(0.1 * torch.randn_like(p))
    batch = model.encode(data.train.x[:30], data.train.cond[:30])
    return term, Batch(batch.x, batch.cond)


def by_loops(term: Term, batch: Batch, norm: float, units: torch.Tensor) -> dict[nn.Parameter, torch.Tensor]:
    """The sum of clipped gradients, one unit after the other, by an ordinary backward pass."""
    trained = term.trainable()
    total = {p: torch.zeros_like(p) for p in trained}
    for unit in units.unique():
        rows = units == unit
        loss = term(Batch(batch.x[rows], None if batch.cond is None else batch.cond[rows])).sum()
        gradients = torch.autograd.grad(loss, trained, allow_unused=True)
        gradients = [torch.zeros_like(p) if g is None else g for p, g in zip(trained, gradients, strict=True)]
        size = math.sqrt(sum(float(g.square().sum()) for g in gradients))
        for p, g in zip(trained, gradients, strict=True):
            total[p] += g * min(1.0, norm / size)
    return total


@pytest.mark.parametrize("norm", [0.1, 1.0, 1e6])
def test_the_gradient_of_a_unit_is_clipped_after_its_sequences_are_added(norm, monkeypatch):
    monkeypatch.setattr(private, "CHUNK", 8)  # units lie in several chunks, and one is larger than a chunk
    term, batch = sequence_term()
    units = torch.tensor([7] * 10 + [3, 5, 3, 5, 9, 3, 1, 1, 1, 1] + list(range(20, 30)))
    fast, slow = clipped_sum(term, batch, norm, units), by_loops(term, batch, norm, units)
    assert sum(float(g.square().sum()) for g in slow.values()) > 0
    for p, expected in slow.items():
        torch.testing.assert_close(fast[p], expected, rtol=2e-3, atol=1e-5)


def test_a_person_with_all_rows_changes_a_sum_by_at_most_the_norm():
    term, batch = sequence_term()
    units = torch.tensor([0] * 12 + list(range(1, 19)))
    whole = clipped_sum(term, batch, 0.1, units)
    rest = clipped_sum(term, Batch(batch.x[12:], batch.cond[12:]), 0.1, units[12:])
    square = sum(float((whole[p] - rest[p]).square().sum()) for p in whole)
    assert 0.099 < math.sqrt(square) <= 0.1 * (1 + 1e-3)
    alone = clipped_sum(term, batch, 0.1)  # by examples, the twelve would have moved it more than a unit may
    alone_rest = clipped_sum(term, Batch(batch.x[12:], batch.cond[12:]), 0.1)
    assert sum(float((alone[p] - alone_rest[p]).square().sum()) for p in alone) > 4 * 0.1**2


def test_a_batch_has_all_examples_of_its_units_or_none():
    of = np.repeat(np.arange(0, 100, 2), np.arange(50) % 4)  # every second unit has no example, others up to 3
    loader = PoissonLoader(Split(torch.arange(len(of))[:, None]), 20, protection(), Units(protection(), of, 100))
    assert loader.rate == 0.2  # of the units, with or without examples
    drawn = np.zeros(100)
    for step in range(500):
        rows = loader(step).x[:, 0].numpy()
        assert np.array_equal(np.flatnonzero(np.isin(of, of[rows])), rows)
        drawn[np.unique(of[rows])] += 1
    there = np.bincount(of, minlength=100) > 0
    assert np.abs(drawn[there] - 100).max() < 4.5 * math.sqrt(500 * 0.2 * 0.8)
    assert not drawn[~there].any()


def test_trainings_that_share_a_guarantee_are_composed_as_by_hand():
    first, second = Spending(rate=0.02, multiplier=1.1, steps=300), Spending(rate=0.1, multiplier=3.0, steps=40)
    together = Spending(9.0, 0.05, 2.0, 100, beside=(first, second))
    library = require_accountant()
    accountant = library.pld.PLDAccountant(value_discretization_interval=1e-3)
    accountant.compose(library.GaussianDpEvent(9.0))
    for rate, multiplier, steps in ((0.05, 2.0, 100), (0.02, 1.1, 300), (0.1, 3.0, 40)):
        event = library.PoissonSampledDpEvent(rate, library.GaussianDpEvent(multiplier))
        accountant.compose(library.SelfComposedDpEvent(event, steps))
    assert together.epsilon(1e-6) == pytest.approx(accountant.get_epsilon(1e-6), rel=1e-9)
    assert together.epsilon(1e-6) > Spending(9.0, 0.05, 2.0, 100).epsilon(1e-6)


def test_shares_of_counts_and_what_is_kept_for_gradients_spend_the_whole_guarantee():
    parts = [protection(share=share) for share in (0.5, 0.2, 0.3)]
    whole = protection().all_counts(1000)
    assert sum(part.counts(1000) ** -2 for part in parts) == pytest.approx(whole**-2)
    assert sum(part.level_delta(1000) for part in parts) == pytest.approx(protection().level_delta(1000))
    kept = tuple(part.reserve(1000) for part in parts)
    inner = protection().of_gradients(1000)
    assert Spending(whole, beside=kept).epsilon(inner.delta) == pytest.approx(4.0, rel=5e-3)
    multiplier = multiplier_for(inner, whole, 0.1, 200, kept[1:])  # the first is planned, the others wait
    assert Spending(whole, 0.1, multiplier, 200, kept[1:]).epsilon(inner.delta) <= 4.0


def test_sequences_begin_at_the_shares_of_their_values_and_lengths():
    rng = np.random.default_rng(0)
    going_on, shares = 0.7, np.array([0.8, 0.15, 0.05])
    counts = np.minimum(rng.geometric(1 - going_on, 2000), 9)
    key = np.repeat(np.arange(2000), counts)
    rows = pd.DataFrame({"id": key, "row": np.arange(len(key)) - np.repeat(counts.cumsum() - counts, counts)})
    rows["kind"] = rng.choice(["a", "b", "c"], len(rows), p=shares)
    data = load(rows, group="id", order="row", length=9)
    torch.manual_seed(0)
    model = build_recipe("autoregressive", data.space, "xs")[1].eval()
    model.fit_statistics(data.train.x)
    before = -float(model.log_prob(data.train.x).nats.mean())
    model.estimand.start(data.train.x, model.codec)
    after = -float(model.log_prob(data.train.x).nats.mean())
    x = data.train.x
    long = float((x[..., 0] >= 0).sum(1).double().mean())
    marks = float((x[:, 8, 0] < 0).double().mean())  # sequences that end by a mark
    best = long * -(shares * np.log(shares)).sum() - (long - 1) * math.log(going_on) - marks * math.log(1 - going_on)
    assert best - 0.05 < after < 1.1 * best
    assert after < before - 0.5
