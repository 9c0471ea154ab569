"""Rows and several things at once as conditions: what a network reads of them, and a table with a known joint."""

import math

import numpy as np
import pytest
import torch

from fourfold.core import Reading, unknown_like
from fourfold.core.conditions import Batch
from fourfold.core.parts import configuration, construct
from fourfold.nn.reading import reading
from fourfold.nn.reading.numbers import Ramps
from fourfold.paradigms import build
from fourfold.spaces import Categorical, Categories, DateTime, Numeric, Table, Together, Vectors
from fourfold.spaces.columns import MISSING, UNSEEN

ROWS = Table(
    (
        Categorical("kind", categories=("a", "b", "c"), missing=True),
        Numeric("price", high=999, missing=True),
        DateTime("when", resolution=1.0, low=1_700_000_000, high=1_700_000_600),
    )
)


def examples(n: int) -> torch.Tensor:
    return ROWS.examples(n, torch.Generator().manual_seed(0))


def test_a_row_is_read_in_standard_units_with_its_gaps() -> None:
    x = examples(400)
    net = reading(ROWS)
    net.fit(x)
    z = net.vectors(x).detach()
    price, when, gap = z[:, 0], z[:, 1], z[:, 2]
    missing = x[:, 1] == MISSING
    assert torch.equal(gap.bool(), missing)
    assert (price[missing] == 0).all()
    assert abs(float(price[~missing].mean())) < 1e-5
    seconds = x[:, 2].double()
    expected = (seconds - seconds.mean()) / seconds.std(correction=0)
    torch.testing.assert_close(when, expected.float(), rtol=1e-4, atol=1e-4)  # single seconds in 54 years are apart
    other = x[:1].repeat(5, 1)
    other[:, 0] = torch.tensor([0, 1, 2, MISSING, UNSEEN])
    assert len(torch.unique(net(other, 5), dim=0)) == 5


def test_ramps_add_up_to_a_line_through_the_quantiles() -> None:
    """The ramps of a number together are its rank among the quantiles, by numpy's own interpolation."""
    draw = np.random.default_rng(0)
    columns = [
        draw.lognormal(3, 2, 500),
        draw.integers(0, 4, 500).astype(float),
        np.full(500, 7.0),
        draw.normal(size=500),
    ]
    x = np.stack(columns, 1)
    x[::5, 3] = np.nan
    ramps = Ramps(4, 8)
    ramps.fit(torch.from_numpy(x))
    new = np.concatenate([x, x.max(0, keepdims=True) + 5, x[:1] - 1e4])
    shares = ramps(torch.from_numpy(new)).view(-1, 4, 8)
    assert shares.abs().max() == 1
    assert (shares[np.isnan(new)] == 0).all()
    assert (shares[:, 2] == 0).all()  # a constant says nothing
    for i in (0, 1, 3):
        column = x[:, i][~np.isnan(x[:, i])]
        corners = np.unique(np.quantile(column, np.linspace(0, 1, 9)))
        ranks = np.interp(new[:, i], corners, np.arange(len(corners)))
        there = ~np.isnan(ranks)
        total = ((shares[:, i, : len(corners) - 1] + 1) / 2).sum(1).numpy()
        np.testing.assert_allclose(total[there], ranks[there], atol=1e-4)
        assert (shares[:, i, len(corners) - 1 :] == 0).all()


def test_an_unknown_row_is_a_learned_vector_and_no_missing_one() -> None:
    net = reading(ROWS)
    net.fit(examples(500))
    torch.nn.init.normal_(net.unknown)
    cond = torch.cat([ROWS.unknown(1), torch.tensor([[-1, -1, -1], [MISSING, MISSING, 1_700_000_000]])])
    out = net(cond, 3)
    assert torch.equal(out[0], net.unknown)
    assert not torch.equal(out[2], net.unknown)
    assert torch.equal(net(None, 3), net.unknown.repeat(3, 1))
    assert not torch.equal(out[1], net.unknown)
    assert net.features(examples(500)).square().mean() < 4


def test_readings_together_are_those_of_their_parts() -> None:
    space = Together((Vectors(2), ROWS, Categories.numbered(3)))
    net = construct(configuration(reading(space)))
    parts = [part.examples(50, torch.Generator().manual_seed(1)) for part in space.parts]
    net.fit(space.join(parts))
    alone = [reading(part) for part in space.parts]
    for single, part, inside in zip(alone, parts, net.readings, strict=True):
        single.load_state_dict(inside.state_dict())
        other = reading(space.parts[alone.index(single)])
        other.fit(part)
        for name, value in other.named_buffers():
            torch.testing.assert_close(dict(inside.named_buffers())[name], value)
    parts[1] = unknown_like(parts[1])
    expected = torch.cat([r(p, 50) for r, p in zip(alone, parts, strict=True)], 1) / math.sqrt(3)
    torch.testing.assert_close(net(space.join(parts), 50), expected)
    left_out = torch.cat([alone[0](parts[0], 50), alone[1](None, 50), alone[2](parts[2], 50)], 1) / math.sqrt(3)
    torch.testing.assert_close(net(space.join(parts), 50), left_out)  # an unknown part is one that is left out
    assert isinstance(net, Reading)
    assert torch.equal(net(None, 2), net(space.unknown(2), 2))


def test_only_the_outer_reading_takes_statistics() -> None:
    space = Together((Vectors(1), Categories.numbered(2)))
    model = build("flow", Vectors(2, given=space), "xs")
    cond = space.join([torch.tensor([[1.0], [3.0], [math.nan]]), torch.tensor([0, 1, 1])])
    model.fit_statistics(torch.randn(3, 2), cond)
    net = next(part for part in model.modules() if hasattr(part, "readings"))
    assert net.readings[0].standardised.mean.item() == 2.0


@pytest.mark.agreement
def test_a_table_given_a_table_learns_the_joint() -> None:
    """p(y | c) of two small columns, from a joint that is known: each conditional sums to one and is the truth."""
    torch.manual_seed(0)
    target = Table((Categorical("y", categories=("u", "v", "w")),))
    given = Table((Categorical("kind", categories=("a", "b"), missing=True), Numeric("level", low=-1, high=1)))
    truth = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.3, 0.6, 0.1]])
    kind = torch.randint(3, (4096,))
    level = torch.randint(-1, 2, (4096,))
    probs = truth[kind] * 0.5 + 0.5 * torch.eye(3)[level + 1]
    y = torch.multinomial(probs, 1)
    cond = torch.stack([torch.where(kind == 2, MISSING, kind), level], 1)
    model = build("autoregressive/any-order", target.conditioned_on(given), "xs")
    model.fit_statistics(y, cond)
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(250):
        rows = torch.randint(4096, (512,))
        batch = Batch(model.codec.encode(y[rows])[0], cond[rows])
        loss = sum(term(batch) for term in model.terms().values()).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()
    every = torch.tensor([[k, v] for k in (0, 1, MISSING) for v in (-1, 0, 1)])
    rows = torch.arange(3).repeat(9)[:, None]
    nats = model.log_prob(rows, every.repeat_interleave(3, 0)).nats.view(9, 3)
    torch.testing.assert_close(nats.exp().sum(1), torch.ones(9), rtol=1e-5, atol=1e-5)
    expected = 0.5 * truth.repeat_interleave(3, 0) + 0.5 * torch.eye(3).repeat(3, 1)
    assert (nats.exp() - expected).abs().max() < 0.12
