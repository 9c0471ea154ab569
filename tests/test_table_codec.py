"""Codes as tokens: every code of a span belongs to one bin, and masses over all codes sum to 1."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from fourfold.baselines.codes import Marginal
from fourfold.codecs import ColumnTokens, GaussianColumns, MixedColumns
from fourfold.codecs.table.bins import bins_of
from fourfold.core import Noise
from fourfold.spaces import Categorical, Numeric, Table
from fourfold.spaces.columns import MISSING, UNSEEN

TABLE = Table(
    (
        Categorical("kind", categories=("x", "y", "z"), missing=True),
        Numeric("price", low=-5, high=40, missing=True),
        Numeric("count", low=0, high=3),
    )
)


def fitted(bins=6):
    codec = ColumnTokens(TABLE, bins)
    x = TABLE.examples(300, torch.Generator().manual_seed(0))
    x[:100, 1] = 0
    codec.fit(x)
    return codec, x


def test_every_code_of_a_span_is_in_one_bin():
    generator = np.random.default_rng(0)
    for n, low, high, count in [(0, 0, 99, 7), (5, 0, 99, 7), (500, -50, 1000, 33), (500, 3, 9, 7), (500, 3, 9, 3)]:
        values = generator.integers(low, high + 1, n) // 10 * 10
        starts = bins_of(values.clip(low, high), low, high, count)
        assert len(starts) == count + 1
        assert starts[0] == low
        assert starts[-1] == high + 1
        assert (np.diff(starts) > 0).all()


def test_a_frequent_code_has_a_bin_of_its_own():
    values = np.concatenate([np.zeros(900, dtype=np.int64), np.arange(1, 101), np.full(60, 700)])
    starts = bins_of(values, 0, 1000, 12)
    for spike in (0, 700):
        k = np.searchsorted(starts, spike, side="right") - 1
        assert (starts[k], starts[k + 1]) == (spike, spike + 1)
    rest = np.histogram(values[(values > 0) & (values < 700)], starts)[0]
    assert rest.max() <= 30, "quantiles share the rest out"


def test_counted_values_keep_their_mass_and_sum_to_one():
    values = [-5, -5, -5, 0, 0, 7, 8, 8, 8, 8, 19, 20, 33, 40]
    space = Table((Numeric("price", low=-5, high=40, beyond=(0.01, 0.01), missing=True),))
    codec, x = ColumnTokens(space, 5, 64), torch.tensor([[v] for v in values] * 3)
    codec.fit(x)
    every = torch.arange(-5, 41).unsqueeze(1)
    z, log_mass = codec.tokenize(every)
    inside = torch.zeros(5, dtype=torch.float64).index_add(0, z[:, 0], log_mass[:, 0].double().exp())
    assert inside[1:4] == pytest.approx(1, abs=1e-6)
    assert 0.9 < float(inside[0]) < 1  # the outer bins reach beyond the span
    beyond = torch.arange(-60, 120).unsqueeze(1)
    z, log_mass = codec.tokenize(beyond)
    masses = codec.token_masses()[0, z[:, 0]] * log_mass[:, 0].double().exp()
    alone = Marginal.fit(Numeric("price", low=-5, high=40, beyond=(0.01, 0.01)), x[:, 0].numpy())
    assert torch.allclose(masses, torch.from_numpy(alone.mass(beyond[:, 0].numpy())), rtol=1e-4), "tails as well"
    z, log_mass = codec.tokenize(every)
    drawn = codec.at(z[:1].expand(4000, 1), torch.rand(4000, 1, generator=torch.Generator().manual_seed(0)))
    assert float((drawn == -5).double().mean()) == pytest.approx(float(log_mass[0].exp()), abs=0.03)


def test_masses_of_codes_sum_to_one():
    codec, _ = fitted()
    x, _ = TABLE.support(0, 0.0)
    z, log_mass = codec.encode(x)
    uniform = -sum(float(np.log(size)) for size in codec.sizes)
    assert float((log_mass.double() + uniform).exp().sum()) == pytest.approx(1, abs=1e-6)
    assert [int(z[:, i].max()) + 1 for i in range(3)] == list(codec.sizes)


def test_decoding_is_within_the_bin_and_spreads_over_it():
    codec, x = fitted()
    z, _ = codec.encode(x)
    again = codec.decode(z, Noise(0, 0, len(z)))
    assert torch.equal(codec.encode(again)[0], z)
    wide = int(codec.starts[0].diff()[: codec.binned[0]].argmax())
    rows = torch.zeros(4000, 3, dtype=torch.long)
    rows[:, 1] = wide
    first, end = codec.starts[0, wide], codec.starts[0, wide + 1]
    assert codec.decode(rows, Noise(0, 0, 4000))[:, 1].unique().tolist() == list(range(int(first), int(end)))


def test_what_no_token_stands_for_has_no_mass():
    codec, x = fitted()
    x[0, 0], x[1, 1], x[2, 2] = UNSEEN, 41, -1
    log_mass = codec.encode(x)[1]
    assert torch.isinf(log_mass[:3]).all()
    assert torch.isfinite(log_mass[3:]).all()


def test_shares_count_the_allowed_codes_of_each_bin():
    codec, _ = fitted()
    allowed = torch.tensor([*range(7, 30), MISSING])
    share = codec.log_shares(1, allowed).exp()
    bounds = codec.starts[0, : codec.binned[0] + 1].tolist()
    for k, (first, end) in enumerate(pairwise(bounds)):
        assert float(share[k]) == pytest.approx(len(set(range(first, end)) & set(range(7, 30))) / (end - first))
    assert share[-1] == 1
    assert codec.log_shares(0, torch.tensor([2])).exp().tolist() == [0, 0, 1, 0]
    z = torch.tensor([[0, int(share[:-1].argmax()), 0]]).repeat(500, 1)
    drawn = codec.decode(z, Noise(0, 0, 500), {1: allowed})[:, 1]
    assert torch.isin(drawn, allowed).all()


def test_columns_of_reals_are_normal_and_decode_to_their_codes():
    x = TABLE.examples(5000, torch.Generator().manual_seed(0))
    codec = GaussianColumns(TABLE, 6)
    codec.fit(x)
    z, log_det = codec.encode(x, Noise(0, 0, 5000))
    assert z.dtype == torch.float32
    assert torch.equal(codec.decode(z), x)
    assert z.mean(0).abs().max() < 0.06
    assert (z.std(0) - 1).abs().max() < 0.05
    codes = [(x[:, i] == v).double().mean().log() for i, v in enumerate(x[0])]
    standard = -(z.square() + np.log(2 * np.pi)).sum(1) / 2
    independent = float((standard + log_det)[0])
    assert independent == pytest.approx(float(sum(codes)), abs=0.6), "the mass of independent columns, by their bins"


def test_masses_of_reals_sum_to_one():
    codec, _ = GaussianColumns(TABLE, 6), None
    codec.fit(TABLE.examples(300, torch.Generator().manual_seed(0)))
    x, _ = TABLE.support(0, 0.0)
    z, log_det = codec.encode(x, Noise(0, 0, len(x)))
    nats = -(z.square() + np.log(2 * np.pi)).sum(1) / 2 + log_det
    assert float(nats.double().exp().sum()) == pytest.approx(1, abs=1e-4)


# --- values beyond those of the data ----------------------------------------------------------------------------------

BEYOND = Table(
    (
        Numeric("price", "int8", low=-5, high=40, missing=True, beyond=(0.02, 0.001), scale=(3.0, 7.5)),
        Numeric("count", "int8", low=2, high=9, beyond=(0.01, 0.04), scale=(1.0, 2.0)),
        Numeric("debt", "int8", low=-30, high=-4, beyond=(0.01, 0.0), scale=(5.0, 1.0)),
    )
)
"""Numbers of one byte, so that all codes with a mass can be listed."""


def beyond(kind, bins=6):
    codec = kind(BEYOND, bins)
    x = BEYOND.examples(300, torch.Generator().manual_seed(0))
    x[:100, 0] = 0
    codec.fit(x)
    return codec, x


def every_code(i):
    """Rows with each code of a column that has a mass, beside one code of the others."""
    column = BEYOND.modelled[i]
    codes = torch.arange(column.limits[0], column.limits[1] + 1)
    rows = torch.tensor([[0, 5, -7]]).repeat(len(codes), 1)
    rows[:, i] = codes
    return rows


def test_limits_keep_the_sign_and_the_dtype():
    assert [column.limits for column in BEYOND.modelled] == [(-128, 127), (0, 127), (-128, -4)]
    assert Numeric("x", low=3, high=9).limits == (3, 9), "an older schema says nothing of what lies beyond"
    assert Numeric("x", "uint8", resolution=0.5, low=3, high=9, beyond=(0.1, 0.1)).limits == (0, 510)


def test_codes_beyond_the_span_have_masses_that_sum_to_one_with_all_others():
    codec, _ = beyond(ColumnTokens)
    for i in range(3):
        x = every_code(i)
        token, place, log_mass = (part[:, i] for part in codec.places(x))
        assert torch.isfinite(log_mass).all()
        assert token.diff().min() >= 0
        for k in token.unique():
            mass = log_mass[token == k].exp()
            assert float(mass.sum()) == pytest.approx(1, abs=1e-12)
            assert torch.allclose(place[token == k], mass.cumsum(0) - mass, atol=1e-12), "the mass of smaller codes"
    x = every_code(0)[:1].repeat(3, 1)
    x[0, 0], x[1, 1], x[2, 2] = 128, -1, -3
    assert torch.isinf(codec.encode(x)[1]).all(), "beyond the limits there is no mass"


def test_a_tail_decays_and_has_the_probability_that_the_column_says():
    codec, x = beyond(ColumnTokens)
    column, low = BEYOND.modelled[1], (x[:, 1] < codec.starts[1, 1]).double().mean()
    rows = every_code(1)
    token, _, log_mass = (part[:, 1] for part in codec.places(rows))
    below = rows[:, 1] < column.low
    share = float(log_mass[below].exp().sum())
    assert share == pytest.approx(float(0.01 / (0.01 + low)))
    above = log_mass[rows[:, 1] > column.high]
    assert (above.diff() < 0).all()
    assert set(token[below].tolist()) == {0}


def test_what_is_drawn_beyond_is_drawn_with_its_mass():
    codec, _ = beyond(ColumnTokens)
    z = torch.zeros(200_000, 3, dtype=torch.long)
    drawn = codec.decode(z, Noise(0, 0, len(z)))[:, 1]
    codes, counts = drawn.unique(return_counts=True)
    rows = torch.tensor([[0, 5, -7]]).repeat(len(codes), 1)
    rows[:, 1] = codes
    token, _, log_mass = (part[:, 1] for part in codec.places(rows))
    assert (token == 0).all()
    expected = log_mass.exp() * len(z)
    assert int(codes.min()) < BEYOND.modelled[1].low
    assert float(((counts - expected) ** 2 / expected).sum()) < 3 * len(codes) + 10


@pytest.mark.parametrize("kind", [GaussianColumns, MixedColumns])
def test_reals_of_codes_beyond_decode_to_them(kind):
    codec, _ = beyond(kind)
    for i in range(3):
        x = every_code(i)
        z, log_det = codec.encode(x, Noise(0, 0, len(x)))
        assert torch.isfinite(log_det).all()
        near = (x[:, i] - every_code(i)[:, i].clamp(*BEYOND.modelled[i].span)).abs() < 30  # float32 tells these apart
        assert torch.equal(codec.decode(z)[near], x[near])
        reals = z[:, len(z[0]) - 3 + i]
        where = torch.ones(len(x), dtype=torch.bool) if kind is GaussianColumns else z[:, i] == 0
        assert (reals[where].diff() >= 0).all(), "larger codes have larger reals"


def test_a_gaussian_code_of_one_column_has_masses_that_sum_to_one():
    codec, _ = beyond(GaussianColumns)
    for i in range(3):
        x = every_code(i)
        u = torch.full(x.shape, 0.5)
        z, log_det = (part[:, i] for part in codec.reals(x, u))
        mass = (log_det - (z.double().square() + np.log(2 * np.pi)) / 2).exp().sum()
        gap = codec.below[i].diff()[codec.tokens.sizes[i] - 1] if BEYOND.modelled[i].missing else 0.0
        assert float(mass) == pytest.approx(1 - float(gap), abs=1e-4)


def test_allowed_codes_beyond_count_with_their_masses():
    codec, _ = beyond(ColumnTokens)
    allowed = torch.tensor([MISSING, -9, -5, 3, 39, 41, 60])
    share = codec.log_shares(0, allowed).exp()
    rows = torch.tensor([[0, 5, -7]]).repeat(len(allowed), 1)
    rows[:, 0] = allowed
    token, _, log_mass = (part[:, 0] for part in codec.places(rows))
    for k in range(codec.sizes[0]):
        assert float(share[k]) == pytest.approx(float(log_mass[token == k].exp().sum()))
    z = torch.zeros(50_000, 3, dtype=torch.long)
    drawn = codec.decode(z, Noise(0, 0, len(z)), {0: allowed})[:, 0]
    mass = {int(code): float(m) for code, m, k in zip(allowed, log_mass.exp(), token, strict=True) if k == 0}
    for code, part in mass.items():
        expected = part / sum(mass.values())
        assert float((drawn == code).double().mean()) == pytest.approx(expected, abs=4 * (expected / 5e4) ** 0.5)
