"""Draws by the inverse of a distribution function: exact shares, and never a category without mass."""

from __future__ import annotations

import itertools

import pytest
import torch

from fourfold.maths.categorical import categorical, quantile, quantile_between

EDGES = (0.0, 2.0**-149, 0.5, 1 - 2.0**-24, 1.0)
"""Uniform numbers at which rounding or a tie could choose a neighbour; 1 is the normal quantile of 6."""


def massless(dtype: torch.dtype) -> torch.Tensor:
    """Five masses for each set of categories without mass but that of all, ``(31, 5)``; they sum to 1 or less."""
    held = torch.tensor([row for row in itertools.product([0.0, 1.0], repeat=5) if any(row)], dtype=dtype)
    return held * torch.tensor([0.1, 0.2, 0.3, 0.15, 0.25], dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("u", EDGES)
def test_a_category_without_mass_is_never_drawn(u: float, dtype: torch.dtype) -> None:
    masses = massless(dtype)
    place = torch.full((len(masses),), u)
    table = torch.cat([torch.zeros(1, dtype=dtype), masses.flatten().cumsum(0)])
    first = 5 * torch.arange(len(masses))
    drawn = (
        categorical(masses.log(), place),
        quantile(masses.cumsum(1), place),
        quantile_between(table, place, first, first + 5) - first,
    )
    for k in drawn:
        assert (masses.gather(1, k[:, None]) > 0).all()


def test_the_ends_of_the_unit_interval_draw_the_first_and_the_last_category_with_mass() -> None:
    masses, u = massless(torch.float64), torch.tensor([0.0, 1 - 2.0**-24, 1.0])
    first = [min(k for k in range(5) if row[k]) for row in masses.tolist()]
    last = [max(k for k in range(5) if row[k]) for row in masses.tolist()]
    drawn = categorical(masses.log(), u.expand(len(masses), 3))
    assert drawn.T.tolist() == [first, last, last]


@pytest.mark.parametrize("shape", [(), (7,), (2, 3)])
def test_each_category_holds_its_share_of_the_unit_interval(shape: tuple[int, ...]) -> None:
    logits = torch.randn(*shape, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    u = ((torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000).expand(*shape, -1)
    drawn = categorical(logits, u)
    assert (drawn.diff() >= 0).all()
    share = torch.nn.functional.one_hot(drawn, 11).double().mean(-2)
    torch.testing.assert_close(share, logits.softmax(-1), atol=1 / 20_000, rtol=0)


def test_a_range_of_a_long_table_is_drawn_as_by_itself() -> None:
    masses = torch.rand(40, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    table = torch.cat([torch.zeros(1, dtype=torch.float64), masses.cumsum(0)])
    u = torch.rand(500, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    for low, high in [(0, 40), (3, 4), (17, 29), (36, 40)]:
        ends = torch.full((500,), low), torch.full((500,), high)
        assert torch.equal(quantile_between(table, u, *ends), low + quantile(masses[low:high].cumsum(0), u))


def test_logits_of_low_precision_are_summed_in_single_precision() -> None:
    logits = torch.zeros(4096, dtype=torch.bfloat16)
    u = (torch.arange(4096) + 0.5) / 4096
    assert torch.equal(categorical(logits, u), torch.arange(4096))
