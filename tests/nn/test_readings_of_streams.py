"""Sequences and texts as conditions: what may matter does, and padding does not."""

import pytest
import torch

from fourfold.core.conditions import as_condition
from fourfold.core.parts import configuration, construct
from fourfold.nn.reading import reading
from fourfold.spaces import Categorical, Identifier, Lines, Numeric, Sequences, Text, Tokenizer
from fourfold.spaces.sequences import ABSENT

COLUMNS = (
    Identifier("user"),
    Numeric("when", low=0, high=5000),
    Categorical("kind", categories=("a", "b"), missing=True),
    Numeric("price", high=99),
)
KEYED = Sequences(COLUMNS, "when", (0, 9), 6, "user")
WINDOWS = Sequences(COLUMNS[1:], "when", (0, 9), 6)
TOKENIZER = Tokenizer.learn("the cat sat on the mat and the hat of the cat " * 8, 270)
SPACES = [KEYED, WINDOWS, Text("abc", 12), Lines(Text("abc", 9)), Lines(Text("", 9, TOKENIZER))]


def fitted(space, n=300):
    torch.manual_seed(0)
    net = construct(configuration(reading(space))).eval()
    cond = as_condition(space.examples(n, torch.Generator().manual_seed(1)))
    net.fit(cond)
    return net, cond


@pytest.mark.parametrize("space", SPACES, ids=lambda space: f"{type(space).__name__}{space.dims}")
@torch.no_grad()
def test_a_reading_is_of_length_about_one_and_knows_the_unknown(space):
    net, cond = fitted(space)
    out = net(cond, len(cond))
    assert 0.2 < out.square().sum(1).mean() < 3
    assert len(torch.unique(out, dim=0)) == len(torch.unique(cond, dim=0))
    net.unknown.normal_()
    mixed = torch.cat([cond[:2], space.unknown(1), cond[2:3]])
    torch.testing.assert_close(net(mixed, 4), torch.cat([out[:2], net.unknown[None], out[2:3]]), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_order_of_rows_and_of_tokens_matters():
    for space in (WINDOWS, Text("abc", 12)):
        net, cond = fitted(space, 8)
        swapped = cond[:, [1, 0, *range(2, cond.shape[1])]]
        differ = (swapped != cond).flatten(1).any(1)
        assert differ.any()
        change = (net(swapped, 8) - net(cond, 8)).abs().amax(1)
        assert torch.equal(change > 1e-4, differ)


@torch.no_grad()
def test_the_last_row_and_the_start_are_read_in_standard_units():
    net, cond = fitted(KEYED, 500)
    width = net.rows.width
    z = net.features(cond)
    there = KEYED.present(cond)
    last = cond[torch.arange(500), there.sum(1) - 1, 2].double()
    prices = cond[..., 2][there].double()
    torch.testing.assert_close(z[:, 1], ((last - prices.mean()) / prices.std(correction=0)).float())
    torch.testing.assert_close(z[:, width], (2 * there.sum(1) / 6 - 1).float())
    start = cond[:, 0, 0].double()
    torch.testing.assert_close(z[:, -net.start.width], ((start - start.mean()) / start.std(correction=0)).float())
    assert z[:, :width].abs().max() < 5  # starts, which are far larger, are no steps


@torch.no_grad()
def test_rows_that_are_not_there_count_for_nothing():
    net, cond = fitted(KEYED, 50)
    longer = construct(configuration(reading(Sequences(COLUMNS, "when", (0, 9), 9, "user"))))
    state = net.state_dict()
    state["positions"] = torch.cat([net.positions, torch.randn(3, net.positions.shape[1])])
    longer.load_state_dict(state)
    padded = torch.cat([cond, torch.full((50, 3, 3), ABSENT)], 1)
    place = net.rows.width  # the share of the length differs, as it should
    a, b = net.features(cond), longer.features(padded)
    rest = torch.arange(a.shape[1]) != place
    torch.testing.assert_close(a[:, rest], b[:, rest], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_tokens_behind_the_end_of_a_text_count_for_nothing():
    space = Lines(Text("abc", 9))
    net, _ = fitted(space)
    short = torch.tensor([[0, 1, 2, space.end]])
    full = space.conditions(short, 1)
    torch.testing.assert_close(net(short, 1), net(full, 1))
